// What is refused: with one line that names the thing, a status that is not 0, and nothing left behind.

import Glibc
import Testing

extension Mounted {
  @Suite struct BadImages {
    @Test func missing() async throws {
      let place = try sandbox.directory("mnt")
      try await expectRefusal([sandbox.path + "/nowhere.img", place], naming: "nowhere.img")
      let link = sandbox.path + "/dangling"
      symlink("nowhere", link)
      try await expectRefusal([link, place], naming: "dangling")
      let file = try sandbox.image(size: 1).path
      try await expectRefusal([file + "/below", place], naming: "below")
      try await expectRefusal(["", place])
    }

    @Test func directory() async throws {
      try await expectRefusal(
        [sandbox.directory("image"), sandbox.directory("mnt")], naming: "\(sandbox.path)/image1", "directory")
    }

    @Test(.needs(.root))
    func otherKinds() async throws {
      let place = try sandbox.directory("mnt")
      try await expectRefusal(["/dev/null", place], naming: "/dev/null")
      // A pipe must not make it wait for a writer.
      let pipe = sandbox.path + "/pipe"
      mkfifo(pipe, 0o644)
      try await expectRefusal([pipe, place], naming: pipe)
    }
  }

  @Suite struct BadMountpoints {
    @Test func missing() async throws {
      try await expectRefusal([sandbox.image(size: 1).path, sandbox.path + "/nowhere"], naming: "nowhere")
    }

    @Test func neitherDirectoryNorFile() async throws {
      try await expectRefusal([sandbox.image(size: 1).path, "/dev/null"], naming: "/dev/null")
    }

    @Test func linksInACircle() async throws {
      let directory = try sandbox.directory("links")
      symlink("b", directory + "/a")
      symlink("a", directory + "/b")
      try await expectRefusal([sandbox.image(size: 1).path, directory + "/a"], naming: directory + "/a", "levels")
    }

    @Test(arguments: ["there", ".hidden", "...", "..hidden"])
    func notEmpty(entry: String) async throws {
      let place = try sandbox.directory("mnt")
      _ = try Image(place + "/" + entry, size: 1)
      try await expectRefusal([sandbox.image(size: 1).path, place], naming: place, "empty", "--nonempty")
    }

    @Test func busy() async throws {
      let mount = try await sandbox.mount(sandbox.image(size: 1))
      let image = try sandbox.image(size: 2)
      let result = try await attempt(Host.cowmount, [image.path, mount.place])
      expectOneLine(result, naming: [mount.place])
      #expect(try MountEntry.all().filter { $0.mountpoint == mount.place }.count == 1)
      #expect(try mount.open().size == 1)
    }

    @Test(.needs(.root))
    func busyWithAnother() async throws {
      let place = try sandbox.directory("mnt")
      try await sandbox.mountOther("-t", "tmpfs", "tmpfs", at: place)
      try await expectRefusal([sandbox.image(size: 1).path, place], naming: place)
    }
  }

  @Suite struct BadOverlayDirectories {
    private func refuse(_ directory: String, naming words: String) async throws {
      let image = try sandbox.image(size: 100_000)
      let place = try sandbox.directory("mnt")
      try await expectRefusal(["--overlay-dir", directory, image.path, place], naming: directory, words)
    }

    @Test func missing() async throws { try await refuse(sandbox.path + "/nowhere", naming: "nowhere") }

    @Test func missingByVariable() async throws {
      let directory = sandbox.path + "/nowhere"
      try await expectRefusal(
        [sandbox.image(size: 1).path, sandbox.directory("mnt")], naming: directory, variables: ["TMPDIR": directory])
    }

    @Test func notADirectory() async throws { try await refuse(sandbox.image(size: 1).path, naming: "irectory") }

    @Test(.needs(.root))
    func readOnly() async throws {
      let place = try sandbox.directory("readonly")
      try await sandbox.mountOther("-t", "tmpfs", "-o", "ro", "tmpfs", at: place)
      try await refuse(place, naming: "ead-only")
    }

    @Test(.needs(.root), arguments: ["tmpfs", "ext4"])
    func full(type: String) async throws {
      let place = try await sandbox.smallFileSystem(type, size: "2M")
      _ = try await attempt("dd", ["if=/dev/zero", "of=\(place)/filler", "bs=4k"])
      try await refuse(place, naming: "pace")
    }

    @Test func insideTheMountpoint() async throws {
      let place = try sandbox.directory("mnt")
      let image = try sandbox.image(size: 1)
      try await expectRefusal(["--overlay-dir", place, image.path, place], naming: place)
      let inside = place + "/a"
      mkdir(inside, 0o755)
      try await expectRefusal(["--nonempty", "--overlay-dir", inside, image.path, place], naming: inside)
    }
  }

  @Suite struct BadOptions {
    private func refuse(_ options: [String], naming words: String) async throws {
      let arguments = try options + [sandbox.image(size: 1).path, sandbox.directory("mnt")]
      try await expectRefusal(arguments, naming: words, status: 64)
    }

    @Test(arguments: ["3000", "1k", "4M", "0", "-4096", "6k", "4k4", "k", "", "17179869184G", "4.0k", "four", "0x1000"])
    func blockSize(text: String) async throws {
      try await refuse(["--block-size", text], naming: "block-size")
      try await refuse(["-o", "block-size=\(text)"], naming: "block-size")
    }

    @Test(arguments: ["0", "-1", "many", "1000000"])
    func threads(text: String) async throws { try await refuse(["--threads", text], naming: "threads") }

    @Test(arguments: ["", ".", "..", "a/b", String(repeating: "n", count: 256)])
    func name(text: String) async throws { try await refuse(["--name", text], naming: "--name") }

    @Test(arguments: ["--nonsense", "-X", "--block-sizes=4k"])
    func unknown(option: String) async throws {
      try await refuse([option], naming: String(option.prefix { $0 != "=" }))
    }

    @Test(arguments: ["nonsense", "nonsense=1", "ro,nonsense"])
    func unknownMountOption(option: String) async throws {
      let arguments = try ["-o", option, sandbox.image(size: 1).path, sandbox.directory("mnt")]
      try await expectRefusal(arguments, naming: "nonsense")
    }

    @Test(arguments: ["io_uring", "io_uring_q_depth=8", "ro,io_uring"])
    func uring(option: String) async throws {
      let arguments = try ["-o", option, sandbox.image(size: 1).path, sandbox.directory("mnt")]
      try await expectRefusal(arguments, naming: "io_uring", "leave it out")
    }

    @Test func missingArguments() async throws {
      let image = try sandbox.image(size: 1).path
      try await expectRefusal([], naming: "image", status: 64)
      try await expectRefusal([image], naming: "mountpoint", status: 64)
      try await expectRefusal([image, sandbox.directory("mnt"), "third"], naming: "third", status: 64)
    }

    @Test(arguments: ["--block-size", "--threads", "--overlay-dir", "--name", "-o"])
    func missingValue(option: String) async throws {
      let arguments = try [sandbox.image(size: 1).path, sandbox.directory("mnt"), option]
      try await expectRefusal(arguments, naming: option, status: 64)
    }
  }
}
