// The images that are worked on, made once a run and never written after.

import Glibc
import SystemPackage

struct Base {
  let path: FilePath
  let size: Int64
  /// Whether it is all hole, so that a copy of it costs nothing.
  var isSparse = false
  /// Whether a plain copy of it may serve several measurements.
  var isReusable = false
  /// Whether the image is compressed by xz; its size is that of what is inside.
  var isXz = false

  /// The image's name, without what says that it is compressed.
  var name: String { (isXz ? path.stem : path.lastComponent?.string) ?? "base" }
}

/// Makes each base when it is first asked for.
final class Bases {
  private let directory: FilePath
  private let scale: Scale
  private var made: [FilePath: Base] = [:]
  private var tree: FilePath?

  init(directory: FilePath, scale: Scale) {
    self.directory = directory
    self.scale = scale
  }

  /// Random data, twice the size worked on.
  func data() throws -> Base {
    let base = Base(path: directory.appending("data.raw"), size: scale.size * 2, isReusable: true)
    return try make(base) { try fill(base.path, size: base.size) }
  }

  /// An ext4 in random data, as a used disk has; the size worked on.
  func fileSystem() async throws -> Base {
    let base = Base(path: directory.appending("ext4.raw"), size: scale.size)
    if let made = made[base.path] { return made }
    try fill(base.path, size: base.size)
    // Nothing left to be initialised later, in the middle of a measurement.
    try await command(
      "mkfs.ext4", ["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", base.path.string])
    return try make(base) {}
  }

  /// Data as disks have it, a part of which can be compressed, half the size worked on, in an xz file with blocks of a
  /// given size.
  func xz(blockSize: Int64) async throws -> Base {
    let raw = directory.appending("mixed.raw")
    let suffix = ".\(blockSize >> 20)m.xz"
    let base = Base(path: FilePath(raw.string + suffix), size: scale.size / 2, isXz: true)
    if let made = made[base.path] { return made }
    if access(raw.string, F_OK) != 0 { try fill(raw, size: base.size, isMixed: true) }
    note("compressing \(raw) in blocks of \(sizeText(blockSize))")
    try await command("xz", ["-1", "-T0", "-k", "-S", suffix, "--block-size=\(blockSize)", raw.string])
    return try make(base) {}
  }

  /// A hole of a given size.
  func sparse(_ size: Int64) throws -> Base {
    let base = Base(path: directory.appending("sparse-\(size).raw"), size: size, isSparse: true)
    return try make(base) { try makeSparse(base.path, size: size) }
  }

  /// The archive that is unpacked as "real work".
  func archive() throws -> FilePath {
    if let tree { return tree }
    let path = directory.appending("tree.tar")
    try SampleTree(files: scale.files).write(to: path)
    tree = path
    return path
  }

  private func make(_ base: Base, _ create: () throws -> Void) throws -> Base {
    if let made = made[base.path] { return made }
    try create()
    try PageCache.flush(base.path)
    guard chmod(base.path.string, 0o444) == 0 else { throw Errno(rawValue: errno) }
    made[base.path] = base
    return base
  }

  /// Incompressible bytes, the same in every run; mixed, a quarter of the pages is that, a quarter is zeros, and half is
  /// made of a few hundred words, as text is.
  private func fill(_ path: FilePath, size: Int64, isMixed: Bool = false) throws {
    note("writing \(path) (\(sizeText(size)))")
    var numbers = SeededGenerator(seed: 1)
    let words = (0..<256).map { _ in numbers.next() }
    var part = [UInt64](repeating: 0, count: 1 << 17)
    let file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .truncate], permissions: [.ownerReadWrite])
    try file.closeAfter {
      var left = size
      while left > 0 {
        for index in part.indices {
          switch isMixed ? index / 512 % 4 : 0 {
          case 0: part[index] = numbers.next()
          case 1: part[index] = 0
          default: part[index] = words[Int(numbers.next() % 256)]
          }
        }
        let length = Int(min(left, 1 << 20))
        try part.withUnsafeBytes { _ = try file.writeAll($0[..<length]) }
        left -= Int64(length)
      }
    }
  }
}
