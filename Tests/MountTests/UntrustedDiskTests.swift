// The attack that --format is for: whoever writes to a raw disk, as a virtual machine does, writes the header of a format
// in which an image names other files, so that the host reads those. Each of these images is first shown to do so where the
// user asks for the format, and then not to where its bytes alone say so.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.program("qemu-img"), .program("qemu-nbd"), .program("qemu-io"))) struct UntrustedDisks {
    /// A file that must not be read, and how it begins.
    private struct Secret {
      let path: String
      let bytes = Pattern(seed: 666).bytes(512)

      init() throws {
        path = try sandbox.directory("secret") + "/secret"
        let file = try TestFile(path, O_RDWR | O_CREAT, mode: 0o600)
        try file.write(bytes, at: 0)
        try file.resize(1 << 20)
      }
    }

    private func expectRefused(_ disk: String, _ secret: Secret, format: String, naming words: String) async throws {
      let before = try TestFile(disk, O_RDONLY).read(512, at: 0)
      let trusted = try await sandbox.mount(Image(existing: disk), "--format", format, "--name", "trusted.img")
      try expect(trusted.open(), at: 0, holds: secret.bytes, "the image does name it")
      try await trusted.unmount()
      try await expectServerRefusal([disk, newMountpoint], naming: disk, words, "--format \(format)", "--format raw")
      let listing = try await attempt(Host.cowmount, ["partitions", disk])
      expectOneLine(listing, naming: [disk, "--format \(format)"])
      let raw = try await sandbox.mount(Image(existing: disk), "--format", "raw", "--name", "raw.img")
      try expect(raw.open(), at: 0, holds: before)
    }

    private func create(_ disk: String, _ arguments: String...) async throws {
      let result = try await attempt("qemu-img", ["create", "-q", "-f", "qcow2"] + arguments + [disk, "1M"])
      guard result.succeeded else { throw CommandFailure(result: result) }
    }

    @Test(arguments: ["compat=0.10", "compat=1.1"], ["absolute", "relative", "json"])
    func backingFile(version: String, name: String) async throws {
      let secret = try Secret()
      let directory = try sandbox.directory("guest")
      let names = [
        "absolute": secret.path, "relative": "../" + secret.path.dropFirst(sandbox.path.count + 1),
        "json": #"json:{"driver":"raw","file":{"driver":"file","filename":"\#(secret.path)"}}"#,
      ]
      let disk = directory + "/raw.img"
      try await create(disk, "-u", "-o", version, "-F", "raw", "-b", try #require(names[name]))
      try await expectRefused(disk, secret, format: "qcow2", naming: "backing file")
    }

    @Test func externalDataFile() async throws {
      let secret = try Secret()
      let disk = sandbox.path + "/raw.img"
      // Made with another file of as long a name: qemu-img empties it.
      let other = secret.path.dropLast() + "x"
      try await create(disk, "-o", "data_file=\(other),data_file_raw=on,preallocation=metadata")
      try await shell(#"perl -pi -e 's/\Q$ENV{OTHER}\E/$ENV{SECRET}/' "$1""#.withVariables(other, secret.path), disk)
      try await expectRefused(disk, secret, format: "qcow2", naming: "data file")
    }

    private func write(_ bytes: [UInt8], to disk: String, at offset: Int = 0) throws {
      try TestFile(disk, O_RDWR | O_CREAT).write(bytes, at: offset)
    }

    private func descriptor(_ lines: String...) -> [UInt8] {
      let head = ["# Disk DescriptorFile", "version=1", "CID=12345678", "parentCID=ffffffff"]
      return Array((head + lines).map { $0 + "\n" }.joined().utf8)
    }

    @Test func descriptorFile() async throws {
      let secret = try Secret()
      let disk = sandbox.path + "/raw.img"
      let text = descriptor(#"createType="monolithicFlat""#, #"RW 2048 FLAT "\#(secret.path)" 0"#)
      try write(text + zeros(1 << 20 - text.count), to: disk)
      try await expectRefused(disk, secret, format: "vmdk", naming: "files of data")
    }

    /// A sparse image without a size, which QEMU takes for a descriptor file inside.
    @Test func descriptorInside() async throws {
      let secret = try Secret()
      let disk = sandbox.path + "/raw.img"
      try write(zeros(1 << 20), to: disk)
      try write(Array("KDMV".utf8) + [1, 0, 0, 0], to: disk)
      try write([1], to: disk, at: 28)
      try write(descriptor(#"createType="monolithicFlat""#, #"RW 2048 FLAT "\#(secret.path)" 0"#), to: disk, at: 512)
      try await expectRefused(disk, secret, format: "vmdk", naming: "files of data")
    }

    @Test func parentImage() async throws {
      let secret = try Secret()
      let parent = sandbox.path + "/parent.vmdk"
      try await run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", secret.path, parent)
      let disk = sandbox.path + "/raw.img"
      let made = try await attempt(
        "qemu-img", ["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, disk])
      #expect(made.succeeded, "\(made)")
      try await expectRefused(disk, secret, format: "vmdk", naming: "parent")
    }

    // MARK: Behind the look at the header

    /// A qemu-nbd before which the content of `evil` is written to `disk`, by the guest: the process may not write. Nor may
    /// it read or start anything else, but see whether there is a file.
    private func directory(writing evil: String, to disk: String) throws -> String {
      let directory = try sandbox.directory("tools")
      let real = try #require(Host.find("qemu-nbd"))
      let program = directory + "/qemu-nbd"
      let script = "#!/bin/sh\nuntil [ -e \(directory)/go ]; do :; done\nexec \(real) \"$@\"\n"
      try write(Array(script.utf8), to: program)
      chmod(program, 0o755)
      Task {
        let hasBegun = try await eventually {
          try entries("/proc").contains { (try? readText("/proc/\($0)/cmdline"))?.contains(program) ?? false }
        }
        #expect(hasBegun)
        try await shell(#"cat "$1" 1<> "$2"; : > "$3""#, evil, disk, directory + "/go")
      }
      return directory
    }

    /// The guest that still runs writes the name just when everybody has looked.
    @Test func aHeaderThatChanges() async throws {
      let secret = try Secret()
      let (disk, evil) = (sandbox.path + "/raw.img", sandbox.path + "/evil")
      try await create(disk)
      try await create(evil, "-u", "-F", "raw", "-b", secret.path)
      let tools = try directory(writing: evil, to: disk)
      let place = try sandbox.directory("mnt")
      let result = try await attempt(
        Host.cowmount, [disk, place], variables: ["PATH": tools + ":" + Host.programs])
      #expect(result.succeeded, "\(result)")
      try expectZeros(TestFile(place + "/raw.img", O_RDONLY), 0..<1 << 20, "the backing file is not used")
      try await run("cmp", disk, evil)
      try await run("fusermount3", "-u", place)
    }

    /// For what the header can name besides a backing file there is no such option: qemu-nbd's own files are looked at.
    @Test func aDataFileThatComesLate() async throws {
      let secret = try Secret()
      let (disk, evil) = (sandbox.path + "/raw.img", sandbox.path + "/evil")
      try await create(disk)
      try await create(evil, "-o", "data_file=\(secret.path.dropLast())x,data_file_raw=on")
      let tools = try directory(writing: evil, to: disk)
      try await expectServerRefusal(
        [disk, newMountpoint], naming: disk, "/secrex", "--format qcow2",
        variables: ["PATH": tools + ":" + Host.programs])
    }
  }
}

extension String {
  /// The script with two variables set.
  fileprivate func withVariables(_ other: some StringProtocol, _ secret: String) -> String {
    "OTHER='\(other)' SECRET='\(secret)' \(self)"
  }
}
