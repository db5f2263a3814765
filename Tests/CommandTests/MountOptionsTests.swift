// The argument of -o: what is ours, what goes to libfuse, and commas within values.

import Glibc
import Testing

@testable import cowmount

@Suite struct MountOptionsTests {
  private func forFuse(_ arguments: String..., image: String = "/srv/disk.img", readOnly: Bool = false) -> [String] {
    let command = try? Cowmount.command(from: arguments.flatMap { ["-o", $0] } + ["disk.img", "/mnt"])
    let mount = command as? Mount
    return MountOptions(mount?.disk.mountOptions ?? []).forFuse(
      image: image, readOnly: readOnly || mount?.disk.readOnly ?? false)
  }

  @Test func listsAndRepetitionsAddUp() {
    let options = forFuse("noatime,,max_read=4096", "allow_root", "")
    #expect(Array(options.prefix(3)) == ["noatime", "max_read=4096", "allow_root"])
  }

  @Test func backslashKeepsAComma() {
    #expect(forFuse(#"fsname=a\,b,noatime"#).prefix(2) == [#"fsname=a\,b"#, "noatime"])
    #expect(forFuse(#"fsname=a\\,noatime"#).prefix(2) == [#"fsname=a\\"#, "noatime"])
  }

  /// libfuse looks at bytes: a comma stays one with an accent behind it.
  @Test func commasWithAccents() throws {
    #expect(forFuse("fsname=a,\u{301}b").prefix(2) == ["fsname=a", "\u{301}b"])
    #expect(forFuse(image: "/srv/a,\u{301}b\\\u{301}").contains("fsname=/srv/a\\,\u{301}b\\\\\u{301}"))
    #expect(throws: (any Error).self) { try parse("--name", "a/\u{301}b", "disk.img", "/mnt") }
  }

  @Test func mountTableShowsTheImage() {
    #expect(forFuse().contains("fsname=/srv/disk.img"))
    #expect(forFuse().contains("subtype=cowmount"))
    #expect(forFuse(image: #"/srv/a,b\c"#).contains(#"fsname=/srv/a\,b\\c"#))
    #expect(forFuse("fsname=mine").filter { $0.hasPrefix("fsname=") } == ["fsname=mine"])
    #expect(forFuse("subtype=mine").filter { $0.hasPrefix("subtype=") } == ["subtype=mine"])
  }

  @Test func rootLetsOthersIn() {
    #expect(forFuse().filter { $0 == "allow_other" }.count == (geteuid() == 0 ? 1 : 0))
    #expect(forFuse("allow_other").filter { $0 == "allow_other" }.count == 1)
  }

  @Test(arguments: ["ro", "allow_other", "default_permissions"])
  func theKernelChecksForWhoeverMounts(option: String) {
    #expect(forFuse(option).filter { $0 == "default_permissions" }.count == 1)
  }

  @Test func readOnly() throws {
    #expect(try parse("-o", "ro", "disk.img", "/mnt").disk.readOnly)
    #expect(try parse("-o", "read-only", "disk.img", "/mnt").disk.readOnly)
    #expect(try !parse("-o", "rw", "disk.img", "/mnt").disk.readOnly)
    #expect(forFuse("ro", readOnly: true).filter { $0 == "ro" }.count == 1)
    #expect(!forFuse("rw").contains("rw"))
  }

  /// mount(8) hands over nothing but -o, so each long option that says how to mount must work there. A new option needs a
  /// sample here.
  private static let samples = [
    "base-cache": "none", "block-size": "64k", "connections": "4", "cow-on-read": nil, "cow-on-read-while": "/run/slow",
    "decompress": nil, "detect-zeroes": "on", "force-share": nil, "format": "xz", "max-block": "1G",
    "max-overlay": "1G", "memory": nil,
    "length": "1M", "name": "other", "nonempty": nil, "offset": "511", "overlay-dir": "/tmp", "partition": "1",
    "pid-file": "/run/x.pid", "prefetch": nil, "read-only": nil, "reconnect": "60", "round-down": "512",
    "round-up": "4k", "sector-size": "512",
    "size": "10G", "threads": "4", "verbose": nil, "xz-max-block": "1G", "xz-max-depth": "2",
  ]

  @Test func everyLongOptionHasASample() {
    let elsewhere: Set = [
      // mount(8) and systemd go on when the command returns.
      "--foreground",
      // They have no descriptor to give.
      "--ready-fd",
      // These are answers, and mount nothing.
      "--help", "--version",
    ]
    let long = optionsInHelp().subtracting(elsewhere).filter { $0.hasPrefix("--") }
    #expect(long == Set(Self.samples.keys.map { "--" + $0 }))
  }

  @Test(arguments: samples)
  func longOptionWithoutDashes(_ option: String, _ value: String?) throws {
    let argument = option + (value.map { "=" + $0 } ?? "")
    // One has a meaning beside another only.
    let company = option == "sector-size" ? "--partition=1" : "--foreground"
    let expected = try parse("--" + argument, company, "disk.img", "/mnt")
    let mount = try parse("-o", argument, company, "disk.img", "/mnt")
    #expect(mount.disk.mountOptions == [], "-o \(argument) goes to libfuse")
    #expect(String(describing: mount) == String(describing: expected))
  }

  /// mount(8) and others hand over what was for themselves.
  @Test(arguments: [
    "_netdev", "auto", "noauto", "nofail", "user", "user=joe", "nouser", "users", "owner", "group", "defaults",
    "x-systemd.automount", "x-systemd.requires=/srv", "X-mount.mkdir", "comment=mine",
  ])
  func optionsForOthers(_ option: String) throws {
    #expect(try parse("-o", "\(option),noatime", "disk.img", "/mnt").disk.mountOptions == ["noatime"])
  }

  @Test func remount() {
    let complaint = complaint(about: ["-o", "ro,remount", "disk.img", "/mnt"])
    #expect(complaint?.hasPrefix("-o remount is not supported: unmount it") == true)
    #expect(status(of: ["-o", "remount", "disk.img", "/mnt"]) == 64)
  }

  @Test func withoutABlank() throws {
    let mount = try parse("-oname=other,noatime", "-oro", "disk.img", "/mnt")
    #expect(mount.disk.name == "other" && mount.disk.readOnly && mount.disk.mountOptions == ["noatime"])
  }

  /// What is behind two dashes is no option.
  @Test func behindTwoDashes() throws {
    let mount = try parse("--", "-oro", "/mnt")
    #expect(mount.image == "-oro" && !mount.disk.readOnly)
  }

  @Test func ownValuesMayHaveCommas() throws {
    #expect(try parse("-o", #"name=a\,b"#, "disk.img", "/mnt").disk.name == "a,b")
  }
}
