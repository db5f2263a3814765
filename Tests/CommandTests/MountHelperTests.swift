// The command line that mount(8) has for its helpers.

import Testing

@testable import cowmount

@Suite struct MountHelperTests {
  @Test func optionsOfMount() throws {
    let request = try MountHelper.request(["disk.img", "/mnt", "-n", "-sv", "-o", "rw,memory", "-t", "cowmount.x"])
    #expect(request == .init(arguments: ["--verbose", "-o", "rw,memory", "--", "disk.img", "/mnt"], isFake: false))
    let mount = try #require(try Cowmount.command(from: request.arguments) as? Mount)
    #expect(mount.disk.memory && mount.disk.verbose && !mount.foreground)
  }

  /// It is not the one of cowmount, which would stay in the foreground.
  @Test func fake() throws {
    #expect(
      try MountHelper.request(["disk.img", "/mnt", "-f"]) == .init(arguments: ["--", "disk.img", "/mnt"], isFake: true))
    #expect(try MountHelper.request(["-fo", "ro", "disk.img", "/mnt"]).isFake)
  }

  @Test(arguments: [
    (["disk.img"], "mount -t cowmount IMAGE DIR"), (["disk.img", "/mnt", "-N", "/proc/1/ns/mnt"], "nsenter"),
    (["disk.img", "/mnt", "-o"], "-o needs a value"), (["disk.img", "/mnt", "-z"], "no option -z"),
  ])
  func wrong(arguments: [String], message: String) {
    let error = #expect(throws: (any Error).self) { try MountHelper.request(arguments) }
    #expect(error.map { complaint($0).contains(message) } == true)
  }

  /// mount(8), EXIT STATUS.
  @Test(arguments: [(0, 0), (64, 1), (1, 32)] as [(CInt, CInt)]) func statuses(code: CInt, expected: CInt) {
    #expect(MountHelper.status(for: code) == expected)
  }
}
