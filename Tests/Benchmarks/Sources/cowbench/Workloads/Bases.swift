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

  var name: String { path.lastComponent?.string ?? "base" }
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

  /// Incompressible bytes, the same in every run.
  private func fill(_ path: FilePath, size: Int64) throws {
    note("writing \(path) (\(sizeText(size)))")
    var numbers = RandomWords(seed: 1)
    var part = [UInt64](repeating: 0, count: 1 << 17)
    let file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .truncate], permissions: [.ownerReadWrite])
    try file.closeAfter {
      var left = size
      while left > 0 {
        for index in part.indices { part[index] = numbers.next() }
        let length = Int(min(left, 1 << 20))
        try part.withUnsafeBytes { _ = try file.writeAll($0[..<length]) }
        left -= Int64(length)
      }
    }
  }
}

/// SplitMix64: fast, seeded, and no compressor finds anything in it.
struct RandomWords: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) {
    state = seed
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }
}
