// Which rights a source leaves to the process that reads it: no more than it needs.

import Images
import NbdImages
import CLinux
import Glibc
import SystemPackage
import Testing

@testable import MountedDisk

@Suite struct ConfinementChoiceTests {
  @Test func aFileNeedsNothing() throws {
    let source = HeldSource.file(try RawImage(path: "/proc/self/exe"))
    #expect(source.confinement.role == CLINUX_ROLE_SERVER)
    #expect(source.confinement.identity == nil && source.confinement.readable.isEmpty)
    #expect(source.descriptors.count == 1)
  }

  @Test func aServerElsewhereNeedsTheNetwork() throws {
    let uri = try #require(NbdURI("nbds://host/x?tls-psk-file=/etc/keys/psk"))
    let confinement = HeldSource.server(uri).confinement
    #expect(confinement.role == CLINUX_ROLE_NETWORK_CLIENT)
    // Keys are the caller's to read.
    #expect(confinement.identity?.user == geteuid())
    #expect(confinement.readable == ["/etc/keys/psk"])
    #expect(HeldSource.server(try #require(NbdURI("nbd://host"))).confinement.identity == nil)
  }

  /// Who sends to a process that is gone is not killed for it.
  @Test func aMessageToNobody() throws {
    let before = signal(SIGPIPE, SIG_DFL)
    defer { signal(SIGPIPE, before) }
    var pair: (MessageSocket, MessageSocket)? = try MessageSocket.pair()
    let mine = try #require(pair?.0)
    pair = nil
    #expect(!mine.send(Wire(1)))
  }
}
