// A server that was started for the mount, and what the image says of it.

import DiskIO
import Glibc
import NbdImages
import SystemPackage
import TestSupport
import Testing

@testable import VirtualDisks

@Suite(.timeLimit(.minutes(1))) struct ServedImageTests {
  /// One that does not answer may do so later; one that ended will not.
  @Test(.enabled(if: Tool.has("nbdkit"))) func itIsAwayWhileItsServerLives() throws {
    let command = try #require(ServerCommand(["nbdkit", "memory", "1M"]))
    var options = NbdImage.Options()
    options.silence = .milliseconds(200)
    options.reconnect = .zero
    let started = try StartedServer(command)
    let image = try started.open(options: options)
    let server = try #require(started.processID)
    #expect(try image.bytes(0..<4096).allSatisfy { $0 == 0 })
    #expect(!image.isAway)

    kill(server, SIGSTOP)
    // Told and not yet done, it may still answer.
    #expect(comesToHold { (try? File.readText(FilePath("/proc/\(server)/stat")))?.contains(") T ") ?? false })
    #expect(throws: Errno.ioError) { try image.bytes(0..<4096) }
    #expect(image.isAway)
    kill(server, SIGCONT)
    #expect(comesToHold { !image.isAway })
    #expect(try image.bytes(0..<4096).allSatisfy { $0 == 0 })

    kill(server, SIGKILL)
    #expect(comesToHold { (try? image.bytes(0..<4096)) == nil })
    #expect(
      comesToHold {
        started.hear()
        return started.end == "nbdkit was killed by signal 9"
      })
    image.prepareToEnd()
    #expect(!image.isAway)
  }
}
