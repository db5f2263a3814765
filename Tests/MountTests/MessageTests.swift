// What is told of images and machines, word by word. What is told of command lines is in CommandTests/MessageTests.swift.

import Glibc
import Testing

extension Mounted {
  @Suite struct Messages {
    private func expect(_ result: CommandResult, _ words: String) {
      #expect(result.status == 1 && result.errors == "cowmount: \(words)\n", "\(result)")
    }

    @Test func overlayDirectoryFromTheEnvironment() async throws {
      let arguments = try [sandbox.image(size: 1).path, sandbox.directory("mnt")]
      expect(
        try await attempt(Host.cowmount, arguments, variables: ["TMPDIR": "/no/where"]),
        "overlay directory /no/where (from $TMPDIR) does not exist; create it, or choose another with --overlay-dir")
      expect(
        try await attempt(Host.cowmount, ["--overlay-dir", "/no/where"] + arguments, variables: ["TMPDIR": "/no"]),
        "overlay directory /no/where does not exist; create it, or choose another with --overlay-dir")
    }

    /// Root, in a user namespace whose mounts are another's.
    @Test(.needs(.root, .program("unshare")))
    func rootWithoutTheRight() async throws {
      let image = try sandbox.image(size: 1).path
      let place = try sandbox.directory("mnt")
      let words = """
        cannot mount at \(place): root may not mount here; start the container with --cap-add SYS_ADMIN --device \
        /dev/fuse, and a user namespace with a mount namespace of its own (unshare --map-root-user --mount)
        """
      expect(
        try await attempt("unshare", ["--user", "--map-root-user", Host.cowmount, image, place]), words)
      expect(
        try await attempt(
          "setpriv", ["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", Host.cowmount, image, place]), words)
    }

    @Test(.needs(.root, .program("setpriv")))
    func userWithoutTheDevice() async throws {
      let image = try sandbox.image(size: 1)
      let place = try sandbox.directory("mnt")
      let mode = try status("/dev/fuse").st_mode & 0o7777
      chmod("/dev/fuse", 0o600)
      defer { chmod("/dev/fuse", mode) }
      chmod(sandbox.path, 0o755)
      chmod(image.path, 0o644)
      for path in [place, image.path] { chown(path, 65534, 65534) }
      let tool = try sandbox.directory("tool")
      try await run("cp", Host.cowmount, tool)
      expect(
        try await attempt("setpriv", nobody + [tool + "/cowmount", "--memory", image.path, place]),
        """
        cannot open /dev/fuse: Permission denied; have root make it readable and writable for you (chmod 666 /dev/fuse)
        """)
    }

    /// First bytes, what they look like, and how to go on.
    private static let foreign: [(String, [UInt8], String)] = [
      ("bzip2", Array("BZh91AY&SY".utf8), "unpack it (bunzip2 --keep)"),
      ("lz4", [0x04, 0x22, 0x4D, 0x18], "unpack it (lz4 -d)"),
      ("lzip", Array("LZIP\u{1}".utf8), "unpack it (lzip --decompress --keep)"),
      ("7z", [0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C], "unpack it (7z x)"),
      ("tar", [UInt8](repeating: 0, count: 257) + Array("ustar".utf8), "unpack it (tar -xf)"),
      ("zip", [0x50, 0x4B, 0x03, 0x04], "unpack it (unzip)"),
      ("rar", Array("Rar!\u{1A}\u{7}".utf8), "unpack it (unrar x)"),
      (
        "Expert Witness (E01)", [0x45, 0x56, 0x46, 0x09, 0x0D, 0x0A, 0xFF, 0x00], "let ewfmount show the disk in it"
      ),
    ]

    /// It is mounted all the same: a disk may begin with any bytes.
    @Test(arguments: foreign)
    func filesThatAreNoDisks(_ name: String, _ bytes: [UInt8], _ way: String) async throws {
      let file = sandbox.path + "/disk.img"
      try TestFile(file, O_RDWR | O_CREAT).write(bytes + [UInt8](repeating: 0, count: 4096), at: 0)
      let place = try sandbox.directory("mnt")
      for (options, words) in [
        (
          [],
          "cowmount: \(file) looks like a file in the format \(name), and not like a disk; \(way), or say --format raw\n"
        ), (["--format", "raw"], ""),
      ] {
        let result = try await attempt(Host.cowmount, options + [file, place])
        #expect(result.succeeded && result.errors == words)
        try await run("umount", place)
      }
    }

    @Test func emptyImage() async throws {
      let file = try sandbox.image(size: 0).path
      let place = try sandbox.directory("mnt")
      let result = try await attempt(Host.cowmount, [file, place])
      #expect(
        result.succeeded
          && result.errors
            == "cowmount: \(file) shows nothing: what is mounted is an empty file; --size makes it larger\n"
      )
      try await run("umount", place)
      #expect(try await attempt(Host.cowmount, ["--size", "1M", file, place]).errors == "")
      try await run("umount", place)
    }

    /// What a server says to its client is that there is no export. Why, it tells on standard error; what it says after that
    /// is not the cause.
    @Test(.needs(.program("nbdkit")))
    func serversOwnWords() async throws {
      let place = try sandbox.directory("mnt")
      let words = ["get_size=echo 512", "pread=exit 1", "open=echo 'EIO the disk is on fire' >&2; exit 1"]
      expectOneLine(
        try await attempt(Host.cowmount, [place, "[", "nbdkit", "eval"] + words + ["]"]),
        naming: ["nbdkit serves nothing: eval[1]: error: ", "the disk is on fire"])
      let result = try await attempt(
        Host.cowmount, [place, "[", "nbdkit", "curl", "https://no.such.host.invalid/a", "]"])
      expectOneLine(result, naming: ["nbdkit serves nothing: curl[1]: error: ", "Could not resolve host"])
    }

    /// A damaged file takes a pass to notice. What the command line has wrong is told before that.
    @Test func cheapMistakesFirst() async throws {
      let file = sandbox.path + "/disk.img.gz"
      try TestFile(file, O_RDWR | O_CREAT).write([0x1F, 0x8B, 0x08, 0] + [UInt8](repeating: 0xFF, count: 4096), at: 0)
      let place = try sandbox.directory("mnt")
      for (arguments, words) in [
        ([file, sandbox.path + "/no"], "does not exist; create it: mkdir"),
        (["--overlay-dir", "/no/where", file, place], "overlay directory /no/where does not exist"),
        (["-o", "frobnicate", file, place], "frobnicate"),
        (["--cow-on-read-while", "/no/where/file", file, place], "/no/where"),
        (["--name", "a/b", file, place], "--name"),
      ] {
        expectOneLine(try await attempt(Host.cowmount, arguments), naming: [words])
      }
      expectOneLine(try await attempt(Host.cowmount, [file, place]), naming: [file])
    }

    @Test(arguments: [8, 24, 63]) func fewFiles(limit: Int) async throws {
      let image = try sandbox.image(size: 1).path
      let place = try sandbox.directory("mnt")
      let script = #"ulimit -n "$1"; shift; exec "$@""#
      expect(
        try await attempt("sh", ["-c", script, "sh", "\(limit)", Host.cowmount, image, place]),
        "a process may have only \(limit) files open here; raise the limit to 64 or more (ulimit -n)")
    }

    /// A limit that the caller can raise is no reason.
    @Test func enoughFiles() async throws {
      let image = try sandbox.image(size: 1).path
      let place = try sandbox.directory("mnt")
      for limit in ["-n 64", "-Sn 8"] {
        try await shell(#"ulimit $1; shift; "$@"; umount "$3""#, limit, Host.cowmount, image, place)
      }
    }
  }
}
