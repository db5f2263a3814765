// Writes a large file, makes it safe, and reads it back. Started by the soak itself, not by users.

internal import ArgumentParser
internal import Glibc

struct Bulk: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bulk", shouldDisplay: false)

  @Option var file: String
  @Option var mebibytes: Int

  func run() throws {
    let file = try OpenFile(file, O_RDWR | O_CREAT)
    let (expected, found) = (Buffer(count: 1 << 20), Buffer(count: 1 << 20))
    for index in 0..<mebibytes {
      Pattern.fill(expected.bytes, at: index << 20, seed: 3)
      try file.write(UnsafeRawBufferPointer(expected.bytes), at: index << 20)
    }
    try file.sync()
    file.dropCache(0..<mebibytes << 20)
    for index in 0..<mebibytes {
      Pattern.fill(expected.bytes, at: index << 20, seed: 3)
      let count = try file.read(into: found.bytes, at: index << 20)
      guard count == 1 << 20, Bytes.areEqual(expected.bytes, found.bytes) else {
        throw Failure("MiB \(index) is not what was written")
      }
    }
  }
}
