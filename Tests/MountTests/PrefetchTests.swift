// --prefetch: the image's data comes into the overlay by itself, in the background, and nothing that happens to it harms the
// mount.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite struct Prefetch {
    static let data = [0..<3 << 20, 6 << 20..<7 << 20]

    private func thread(of daemon: Daemon) throws -> String? {
      try entries("/proc/\(daemon.pid)/task").first {
        (try? readText("/proc/\(daemon.pid)/task/\($0)/comm")) == "prefetch\n"
      }
    }

    @Test func allDataIsCopiedAndTheThreadEnds() async throws {
      let image = try sandbox.image(size: 8 << 20, data: Self.data)
      let mount = try await sandbox.mount(image, "--prefetch", staying: true)
      #expect(try await eventually { try thread(of: mount.daemon.server) == nil })
      let used = try mount.overlaySpace()
      #expect(used >= 4 << 20 && used < 5 << 20)
      let file = try mount.open(O_RDWR | O_DIRECT)
      for range in Self.data { try expectBase(file, range) }
      try expectZeros(file, 3 << 20..<6 << 20)
      #expect(try file.dataRanges() == Self.data)
      kill(mount.daemon.pid, SIGUSR1)
      try await Task.sleep(for: .milliseconds(100))
      let result = try #require(try await mount.end(with: SIGTERM))
      #expect(result.errors.contains("100 % of \(image.path)"), "\(result)")
      #expect(
        result.errors.contains("prefetch is done: \(4 << 20) bytes were copied, 0 could not be read"), "\(result)")
      // Nobody asked for a byte twice, reader or thread.
      #expect(result.errors.contains("\(4 << 20) bytes in all"), "\(result)")
    }

    @Test func writesMeanwhileAreKept() async throws {
      let image = try sandbox.image(size: 48 << 20)
      let mount = try await sandbox.mount(image, "--prefetch")
      let file = try mount.open(O_RDWR | O_DIRECT)
      let new = Pattern(seed: 77)
      var written: [Int] = []
      for place in stride(from: 0, to: 48 << 20, by: 3 << 20) {
        try file.write(new.bytes(8192, at: place), at: place + 4096)
        written.append(place)
      }
      #expect(try await eventually { try thread(of: mount.daemon.server) == nil })
      for place in written {
        try expectBase(file, place..<place + 4096)
        try expect(file, at: place + 4096, holds: new.bytes(8192, at: place))
        try expectBase(file, place + 12288..<place + 20480)
      }
    }

    @Test func anOverlayWithoutSpaceEndsItAndNothingElse() async throws {
      let image = try sandbox.image(size: 8 << 20, data: Self.data)
      let mount = try await sandbox.mount(image, "--prefetch", "--max-overlay", "2M", staying: true)
      #expect(try await eventually { try thread(of: mount.daemon.server) == nil })
      let file = try mount.open(O_RDWR | O_DIRECT)
      for range in Self.data { try expectBase(file, range) }
      let new = Pattern(seed: 78).bytes(1 << 20)
      for place in [4 << 20, 5 << 20] { try file.write(new, at: place) }
      for place in [4 << 20, 5 << 20] { try expect(file, at: place, holds: new) }
      let result = try #require(try await mount.end(with: SIGTERM))
      // Said at once, and when it comes to it.
      #expect(result.errors.contains("--prefetch will not copy all of \(image.path)"), "\(result)")
      #expect(result.errors.contains("prefetch ended at byte"), "\(result)")
    }
  }
}

#if DEBUG
  extension Mounted.Fault {
    /// A thread of a slow image's prefetch.
    private func prefetchThread(of daemon: Daemon) throws -> String? {
      try entries("/proc/\(daemon.pid)/task").first {
        (try? readText("/proc/\(daemon.pid)/task/\($0)/comm")) == "prefetch\n"
      }
    }

    private func bytesRead(by daemon: Daemon) throws -> Int {
      let line = try readText("/proc/\(daemon.pid)/io").split(separator: "\n").first { $0.hasPrefix("rchar: ") }
      return line.flatMap { Int($0.dropFirst(7)) } ?? 0
    }

    @Test func prefetchedBlocksNeedNoBase() async throws {
      let mount = try await Faulty("base-read:EIO", options: ["--prefetch"])
      // The thread has read everything, and is done with it.
      #expect(try await eventually { try bytesRead(by: mount.daemon.server) >= 12 << 20 })
      #expect(try await eventually { try prefetchThread(of: mount.daemon.server) == nil })
      try mount.fail()
      let file = try mount.open()
      for start in stride(from: 0, to: 12 << 20, by: 1 << 20) { try expectBase(file, start..<start + (1 << 20)) }
      try expectZeros(file, 12 << 20..<16 << 20)
    }

    @Test func prefetchIsInNobodysWayAndEndsWithTheMount() async throws {
      let mount = try await Faulty("base-read:delay=400", options: ["--prefetch"], isFailing: true)
      #expect(try await eventually { try prefetchThread(of: mount.daemon.server) != nil })
      let thread = try #require(try prefetchThread(of: mount.daemon.server))
      let path = "/proc/\(mount.daemon.server.pid)/task/\(thread)"
      #expect(
        try await eventually {
          let line = try readText(path + "/stat")
          let fields = line[(line.lastIndex(of: ")") ?? line.startIndex)...].split(separator: " ")
          return fields.count > 17 && fields[17] == "19"
        }, "the thread is not nice")
      // It is at the first mebibyte; a write there does not wait.
      try mount.open().write(Self.written.bytes(65536), at: 65536)
      try expect(mount.open(), at: 65536, holds: Self.written.bytes(65536))
      let result = try await attempt("umount", [mount.place])
      #expect(result.succeeded, "\(result)")
      #expect(try await eventually(within: .seconds(8)) { !mount.daemon.isAlive })
    }

    @Test func aBaseThatFailsNowAndThenIsPrefetchedAsFarAsItGoes() async throws {
      let mount = try await Faulty(
        "base-read:EIO:0.5", options: ["--prefetch", "--format", "raw"], isFailing: true)
      #expect(try await eventually { try prefetchThread(of: mount.daemon.server) == nil })
      mount.mend()
      let file = try mount.open()
      for start in stride(from: 0, to: 12 << 20, by: 1 << 20) { try expectBase(file, start..<start + (1 << 20)) }
    }
  }
#endif
