// Compressed images: whatever a file claims to be, opening it and reading it ends in an error or in bytes, the same each
// time.

internal import CLinux
internal import CopyOnWrite
internal import DiskIO
internal import Glibc
internal import SystemPackage

@testable import BaseImage

func fuzzCompressed(_ input: inout Input) {
  let flags = input.byte()
  let bytes = input.bytes()
  let descriptor = clinux_memory_file("fuzz")
  require(descriptor >= 0, "no file in memory")
  let content = File(adopting: descriptor)
  try? bytes.withUnsafeBytes { try content.writeFully($0, at: 0) }
  guard let file = try? RawImage(path: FilePath("/proc/self/fd/\(descriptor)")),
    let detected = try? ImageFormat.detect(in: file)
  else { return }
  let formats: [ImageFormat] = [.xz, .zstd, .gzip]
  let format = detected == .raw || flags & 1 != 0 ? formats[Int(flags >> 4) % 3] : detected
  var options = CompressionOptions()
  options.maxBlock = 1 << 20
  options.isForced = flags & 2 != 0
  options.scratchLimit = 1 << 20
  if flags & 4 != 0 { options.scratch = { () throws(Errno) in try File.scratchInMemory() } }
  guard let image = try? format.open(file, options: options) else { return }
  _ = image.summary
  read(image)
}

private func read(_ image: any Image) {
  let size = image.size
  let ends = [0, size / 3, size > 5000 ? size - 5000 : 0]
  for start in ends where start < size {
    let count = Int(min(size - start, 5000))
    let (first, second) = (read(image, count, at: start), read(image, count, at: start))
    require(first == second, "\(count) bytes at \(start) of \(size) are not the same twice")
  }
}

private func read(_ image: any Image, _ count: Int, at offset: UInt64) -> [UInt8]? {
  var bytes = [UInt8](repeating: 0xDE, count: count)
  let result: Void? = bytes.withUnsafeMutableBytes { try? image.read(into: $0, at: offset) }
  return result == nil ? nil : bytes
}
