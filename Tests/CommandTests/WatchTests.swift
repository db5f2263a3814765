// What is told while a mount serves: that the image changed, and that the overlay fills up, each once when it comes and once
// when it goes.

import Images
import CopyOnWrite
import DiskIO
import Logging
import Synchronization
import SystemPackage
import Testing

@testable import MountedDisk

@Suite struct WatchTests {
  private let image: ChangingImage
  private let disk: CowDisk
  private let log = Lines()

  init() throws {
    image = try ChangingImage()
    let geometry = try #require(Geometry(blockSize: 4096))
    disk = try CowDisk(
      base: image, geometry: geometry, scratch: File.scratchInMemory(), options: .init(maxOverlay: 100 * 4096))
  }

  private func makeWatch() -> Watch {
    Watch(image: image, disk: disk, logger: Logger(label: "test") { [log] _ in Recorder(lines: log) })
  }

  @Test func space() throws {
    var watch = makeWatch()
    /// Makes the overlay hold so many of its hundred blocks, and tells what is said of that.
    func told(at blocks: UInt64) throws -> [String] {
      let bytes = [UInt8](repeating: 1, count: Int(blocks) * 4096)
      try bytes.withUnsafeBytes { try disk.write($0, at: 0) }
      try disk.zero(blocks * 4096..<disk.size)
      watch.look()
      watch.look()
      return log.takeAll()
    }
    #expect(try told(at: 0) == [])
    #expect(try told(at: 79) == [])
    #expect(try told(at: 80) == ["warning: the overlay has used 80 % of its space, 81920 bytes are left"])
    #expect(try told(at: 94) == [])
    #expect(try told(at: 95) == ["warning: the overlay has used 95 % of its space, 20480 bytes are left"])
    #expect(try told(at: 100) == [])
    #expect(try told(at: 90) == ["notice: the overlay uses less than 95 % of its space again"])
    #expect(try told(at: 96) == ["warning: the overlay has used 95 % of its space, 16384 bytes are left"])
    #expect(try told(at: 10) == ["notice: the overlay uses less than 95 % of its space again"])
    #expect(try told(at: 85).count == 1)
  }

  @Test func changes() {
    var watch = makeWatch()
    watch.look()
    #expect(log.takeAll() == [])
    for change in ["it was written to", "its size was 5 bytes and is 6"] {
      image.tell(change)
      watch.look()
      watch.look()
      let line = "error: the image /disk.img changed under the mount (\(change)): what is read from it may be wrong"
      #expect(log.takeAll() == [line])
    }
  }
}

/// An image that says what it is told to say of itself.
private final class ChangingImage: Image {
  let size: UInt64 = 1 << 20
  let source = "/disk.img"
  let name: String? = "disk.img"
  let status: FileStatus
  let access = ImageAccess(file: FileAccess(user: 0, group: 0, permissions: 0o600))
  let dataSectors: UInt64 = 2048
  let scratchBytes: UInt64 = 0
  let isRemote = false
  let isAway = false
  func prepareToEnd() {}
  private let told = Mutex<String?>(nil)

  init() throws { status = try FileStatus(of: "/") }

  func tell(_ change: String) { told.withLock { $0 = change } }
  func change() -> String? { told.withLock { $0 } }
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) {
    buffer.initializeMemory(as: UInt8.self, repeating: 0)
  }
  func extent(at offset: UInt64) -> Extent { Extent(isData: true, end: size) }
}

/// What was logged.
private final class Lines: Sendable {
  private let lines = Mutex<[String]>([])

  func add(_ line: String) { lines.withLock { $0.append(line) } }

  func takeAll() -> [String] {
    lines.withLock { lines in
      defer { lines = [] }
      return lines
    }
  }
}

private struct Recorder: LogHandler {
  let lines: Lines
  var logLevel = Logger.Level.debug
  var metadata: Logger.Metadata = [:]

  init(lines: Lines) { self.lines = lines }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) { lines.add("\(event.level): \(event.message)") }
}
