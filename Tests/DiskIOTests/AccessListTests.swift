// Access control lists, in the form that the kernel hands out.

import SystemPackage
import TestSupport
import Testing

@testable import DiskIO

@Suite struct AccessListTests {
  private static let (owner, user, group, namedGroup, mask, others) = (1, 2, 4, 8, 16, 32)

  private func bytes(_ entries: [(tag: Int, permissions: Int)], version: UInt8 = 2) -> [UInt8] {
    [version, 0, 0, 0] + entries.flatMap { [UInt8($0.tag), 0, UInt8($0.permissions), 0, 77, 0, 0, 0] }
  }

  @Test func `what is granted is what the mask leaves`() {
    let list = AccessList(
      bytes([
        (Self.owner, 6), (Self.user, 6), (Self.user, 1), (Self.group, 7), (Self.namedGroup, 2), (Self.mask, 5),
        (Self.others, 6),
      ]))
    #expect(list == AccessList(group: 5, others: 6, users: [4, 1], groups: [0]))
  }

  @Test func `a list may have no mask`() {
    #expect(AccessList(bytes([(Self.owner, 6), (Self.group, 4), (Self.others, 0)])) == AccessList(group: 4, others: 0))
  }

  @Test func `what is no list is none`() {
    let good = bytes([(Self.owner, 6), (Self.group, 4), (Self.others, 0)])
    #expect(AccessList(good) != nil)
    for count in 0..<good.count { #expect(AccessList(Array(good[..<count])) == nil) }
    #expect(AccessList(bytes([(Self.group, 4), (Self.others, 0)], version: 3)) == nil)
    #expect(AccessList(bytes([(Self.group, 4), (64, 7), (Self.others, 0)])) == nil)
    #expect(AccessList(bytes([(Self.owner, 4), (Self.others, 0)])) == nil)
  }

  @Test func `most files have none`() throws {
    let directory = try TemporaryDirectory()
    #expect(AccessList.of(directory.path) == nil)
    let file = try directory.makeFile("file")
    #expect(AccessList.of(file) == nil)
  }
}
