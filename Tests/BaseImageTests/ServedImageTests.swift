// A server that was started for the mount, and what the image says of it.

import Glibc
import SystemPackage
import Testing

@testable import BaseImage

@Suite(.timeLimit(.minutes(1))) struct ServedImageTests {
  /// One that does not answer may do so later; one that ended will not.
  @Test(.enabled(if: Tool.has("nbdkit"))) func itIsAwayWhileItsServerLives() throws {
    let command = try #require(ServerCommand(["nbdkit", "memory", "1M"]))
    var options = ServedImage.Options()
    options.client.silence = .milliseconds(200)
    options.client.reconnect = .zero
    let image = try ServedImage(command, options: options)
    let server = try #require(image.serverProcess)
    #expect(try image.bytes(0..<4096).allSatisfy { $0 == 0 })
    #expect(!image.isAway && !image.needsRightsLater)

    kill(server, SIGSTOP)
    #expect(throws: Errno.ioError) { try image.bytes(0..<4096) }
    #expect(image.isAway)
    kill(server, SIGCONT)
    #expect(eventually { !image.isAway })
    #expect(try image.bytes(0..<4096).allSatisfy { $0 == 0 })

    kill(server, SIGKILL)
    #expect(eventually { (try? image.bytes(0..<4096)) == nil })
    #expect(eventually { !image.isAway })
  }

  private func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<3000 {
      if condition() { return true }
      usleep(10_000)
    }
    return false
  }
}
