// Messages between the processes of a mount.

import Testing

@testable import MountedDisk

@Suite struct MessageSocketTests {
  /// Whoever ended while something was on its way to it is heard all the same.
  @Test func whatWasSaidBeforeTheEnd() throws {
    var pair: (mine: MessageSocket, its: MessageSocket)? = try MessageSocket.pair()
    let mine = try #require(pair?.mine)
    pair?.its.send(Wire(7, [1, 2], text: Array("why".utf8)))
    mine.send(Wire(9))
    pair = nil
    guard case .message(let wire, nil) = mine.receive() else {
      Issue.record("the message is lost")
      return
    }
    #expect(wire.kind == 7 && wire.string == "why" && wire.number(1) == 2)
    guard case .end = mine.receive() else {
      Issue.record("there is no end")
      return
    }
  }
}
