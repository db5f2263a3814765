// What is said where a mount refuses a change.

import SystemPackage
import Testing

@testable import MountControl
@testable import cowmount

@Suite struct ChangeRefusedTests {
  private func words(_ reason: ControlRefusal, _ users: [MountUser] = [], _ error: Errno? = nil) -> String {
    ChangeRefused(path: "/mnt/one", name: CheckpointName("first"), reason: reason, error: error, users: users)
      .description
  }

  /// One line each, with the mount and what to do.
  @Test(
    arguments: [
      (.nameTaken, "has a checkpoint 'first' already"), (.unknownName, "has no checkpoint 'first'"),
      (.nameInvalid, "no checkpoint 'first'"), (.readOnlyMount, "read-only"), (.noSpace, "no space"),
      (.keeperFailed, "could not do it: No such file or directory"), (.tooMany, "no more checkpoints"),
    ] as [(ControlRefusal, String)])
  func reasons(reason: ControlRefusal, part: String) {
    let words = words(reason, [], .noSuchFileOrDirectory)
    #expect(
      words.contains("/mnt/one") && words.contains(part) && words.contains(";") && !words.contains("\n"), "\(words)")
  }

  @Test func whoUsesIt() {
    let users = [MountUser.process(12, name: "qemu"), .process(13, name: "cp")]
    #expect(words(.inUse(2), users).contains("in use by qemu (process 12), cp (process 13); "))
    #expect(words(.inUse(1)).contains("somebody whom this user cannot see (open 1 time); "))
    #expect(words(.inUse(2)).contains("(open 2 times)"))
  }

  @Test func commandLines() {
    let right = [
      ["checkpoint", "/mnt", "a"], ["checkpoint", "--delete", "--json", "/mnt", "a"], ["reset", "/mnt"],
      ["reset", "--to", "a", "--force", "/mnt"],
    ]
    for arguments in right { #expect(status(of: arguments) == 0, "\(arguments)") }
    let wrong = [
      ["checkpoint", "/mnt"], ["checkpoint", "/mnt", "a/b"], ["checkpoint", "/mnt", ""], ["checkpoint", "/mnt", "a@b"],
      ["checkpoint", "/mnt", ".."], ["checkpoint", "/mnt", String(repeating: "x", count: 201)],
      ["reset", "--to", "a/b", "/mnt"], ["reset"], ["reset", "/mnt", "a"],
    ]
    for arguments in wrong { #expect(status(of: arguments) == 64, "\(arguments)") }
  }
}
