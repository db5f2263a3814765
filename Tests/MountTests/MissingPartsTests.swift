// A machine without /dev/fuse or without fusermount3, acted in a mount namespace where they are hidden.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.root, .program("unshare"), .program("setpriv"))) struct MissingParts {
    /// Runs cowmount where `hidden` is an empty directory.
    private func refuse(hiding hidden: String, as user: [String], naming words: String) async throws {
      let tools = try sandbox.directory("tools")
      try await run("cp", Host.cowmount, Host.find("setpriv") ?? "", tools)
      let image = try sandbox.image(size: 1)
      let place = try sandbox.directory("mnt")
      let overlays = try sandbox.directory("overlay")
      for directory in [place, overlays] { chown(directory, 65534, 65534) }
      let script = #"hidden=$1; shift; mount --bind "$0" "$hidden"; exec "$@""#
      let empty = try sandbox.directory("empty")
      let command = ["\(tools)/setpriv"] + user + ["\(tools)/cowmount", "--overlay-dir", overlays, image.path, place]
      let result = try await attempt("unshare", ["--mount", "sh", "-ec", script, empty, hidden] + command)
      expectOneLine(result, naming: [words])
      #expect(try entries(overlays) == [])
      #expect(try MountEntry.at(place) == nil)
      #expect(Daemon.find(mentioning: place).isEmpty)
    }

    @Test func noDevice() async throws {
      try await refuse(hiding: "/dev", as: ["--reuid=0"], naming: "/dev/fuse")
    }

    @Test func noDeviceForAUser() async throws {
      try await refuse(hiding: "/dev", as: nobody, naming: "/dev/fuse")
    }

    @Test func noFusermount() async throws {
      try await withDeviceForEverybody {
        try await refuse(hiding: "/usr/bin", as: nobody, naming: "fusermount3")
      }
    }
  }
}

/// Lets everybody open /dev/fuse meanwhile, as it is on most machines.
func withDeviceForEverybody(_ body: () async throws -> Void) async throws {
  let mode = try status("/dev/fuse").st_mode & 0o7777
  chmod("/dev/fuse", 0o666)
  defer { chmod("/dev/fuse", mode) }
  try await body()
}
