// What must not grow: descriptors and memory of the server over many opens and many requests.

internal import Glibc

final class Flatness {
  private let stage: Stage

  init(_ stage: Stage) {
    self.stage = stage
  }

  private static let size = 64 << 20
  /// What an allocator may need to settle, in KiB.
  private static let slack = 1024

  func run(opens: Int, requests: Int) throws -> String {
    let image = try stage.directory("image") + "/disk.img"
    try OpenFile(image, O_RDWR | O_CREAT).resize(to: Self.size)
    var told = ""
    try Watchdog.guarding("many requests", on: stage, seconds: 30 + Double(requests) / 1000) {
      let server = try Server(stage, image: image, options: ["--memory", "--max-overlay", "1G"], overlays: "")
      // What is allocated once, is: each worker has served, each kind of request came.
      try request(server.file, 2000)
      try open(server.file, 100)
      let before = (server.descriptors, server.kibibytes("RssAnon"))
      try open(server.file, opens)
      try request(server.file, requests)
      let after = (server.descriptors, server.kibibytes("RssAnon"))
      told = "descriptors \(before.0) to \(after.0), memory of its own \(before.1) to \(after.1) KiB"
      if after.0 != before.0 || after.1 > before.1 + Self.slack { throw Failure(told) }
      try server.unmount()
    }
    unlink(image)
    return told
  }

  private func open(_ path: String, _ number: Int) throws {
    for _ in 0..<number {
      let file = try OpenFile(path)
      withExtendedLifetime(file) {}
    }
  }

  /// Reads and writes of all over the file, none of which the kernel's cache can answer.
  private func request(_ path: String, _ number: Int) throws {
    let file = try OpenFile(path, O_RDWR | OpenFile.directFlag)
    let buffer = Buffer(count: 65536)
    var random = Randomness(seed: 1)
    for index in 0..<number {
      let count = index % 16 == 0 ? 65536 : 4096
      let offset = random.below((Self.size - count) / 4096) * 4096
      switch index % 64 {
      case 0..<40: _ = try file.read(into: buffer.prefix(count), at: offset)
      case 63: try file.allocate(.punch, offset..<offset + 262_144)
      default: try file.write(UnsafeRawBufferPointer(buffer.prefix(count)), at: offset)
      }
    }
  }
}
