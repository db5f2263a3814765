// NBD servers and URIs that cannot be used, and a machine that cannot use any.

import Glibc
import SystemPackage
import Testing

extension Mounted {
  @Suite(.needs(.program("nbdkit"), .program("qemu-nbd"))) struct NbdBadInput {
    // MARK: The library

    /// A machine without libnbd, acted in a mount namespace where something else is in its place.
    @Test(.needs(.root, .program("unshare"))) func noLibrary() async throws {
      let place = try sandbox.directory("mnt")
      let script = #"""
        for library in $(ldconfig -p | sed -n 's/.*libnbd\.so\.0 .*=> //p'); do
          mount --bind /dev/null "$(realpath "$library")"
        done
        exec "$1" nbd://127.0.0.1:1/x "$2"
        """#
      expectOneLine(
        try await attempt("unshare", ["--mount", "sh", "-ec", script, "sh", Host.cowmount, place]),
        naming: ["nbd://127.0.0.1:1/x", "libnbd0"])
      #expect(try MountEntry.at(place) == nil)
    }

    @Test(.needs(.program("ldd"))) func isNotLoadedAtStart() async throws {
      let libraries = try await run("ldd", Host.cowmount)
      #expect(libraries.contains("libfuse3") && !libraries.contains("nbd"), "\(libraries)")
    }

    // MARK: Bad input

    @Test func lyingServer() async throws {
      let image = try sandbox.image(size: 1)
      let server = try await NbdServer(
        nbdkit: [], plugin: "eval", "get_size=echo 10M",
        #"pread=if [ $4 -ge 5242880 ]; then echo EIO no such bytes >&2; exit 1; fi; dd if=/dev/zero bs=$3 count=1"#)
      let mount = try await sandbox.mount(image, from: server.uri)
      let file = try mount.open(O_RDWR | O_DIRECT)
      #expect(try file.size == 10 << 20)
      try expectZeros(file, 0..<4096)
      #expect(throws: Errno.ioError) { try file.read(4096, at: 6 << 20) }
      try expectZeros(file, 4096..<8192)
    }

    @Test func silentServer() async throws {
      let directory = try sandbox.directory("server")
      let listener = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
      defer { close(listener) }
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: (directory + "/socket").utf8) }
      try withUnsafePointer(to: &address) {
        try $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          _ = try TestFile.check(bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size)))
        }
      }
      try TestFile.check(listen(listener, 1))
      let uri = "nbd+unix:///x?socket=\(directory)/socket"
      try await expectRefusal(["--reconnect=1", uri, sandbox.directory("mnt")], naming: uri, "within 1 s")
    }

    @Test func noServer() async throws {
      let place = try sandbox.directory("mnt")
      let socket = sandbox.path + "/nowhere"
      try await expectRefusal(["nbd+unix:///?socket=\(socket)", place], naming: socket, "cannot reach")
      try await expectRefusal(["nbd://127.0.0.1:1/x", place], naming: "nbd://127.0.0.1:1/x", "cannot reach")
      try await expectRefusal(["nbd://nowhere.invalid/x", place], naming: "nowhere.invalid", "cannot reach")
    }

    @Test func badURIs() async throws {
      let place = try sandbox.directory("mnt")
      try await expectRefusal(["nbd+unix:///x", place], naming: "nbd+unix:///x", "socket")
      try await expectRefusal(["nbd://[::1/x", place], naming: "nbd://[::1/x", "URI")
      try await expectRefusal(["http://host/x.img", place], naming: "http:", "nbdkit")
      try await expectRefusal(["--format=xz", "nbd://host/x", place], naming: "nbd://host/x", "raw")
      try await expectRefusal(["--reconnect=-1", "nbd://host/x", place], naming: "--reconnect", status: 64)
      try await expectRefusal(["--connections=0", "nbd://host/x", place], naming: "--connections", status: 64)
    }

    @Test func badExports() async throws {
      let place = try sandbox.directory("mnt")
      let server = try await NbdServer(.qemu, sandbox.image(size: 1 << 20))
      let uri = server.uri.replacing(NbdServer.fileName, with: "other")
      try await expectRefusal([uri, place], naming: uri, "no export 'other'", "'\(NbdServer.fileName)'")
      let secure = server.uri.replacing("nbd+unix", with: "nbds+unix")
      try await expectRefusal([secure, place], naming: secure, "TLS")
      let empty = try await NbdServer(nbdkit: [], plugin: "null", "0")
      try await expectRefusal([empty.uri, place], naming: empty.uri, "empty")
    }
  }
}
