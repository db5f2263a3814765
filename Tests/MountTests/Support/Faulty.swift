// A mount whose base or overlay fails on purpose (Faults.swift in DiskIO). What injects the faults is in debug builds only,
// so it is the debug binary beside the tests and not the one under test.

#if DEBUG
  import Glibc
  import Testing

  /// The debug binary, which is built with the tests.
  let debugBinary: String = {
    let bundle = Host.resolved("/proc/self/exe")
    let tests = CommandLine.arguments.first { $0.hasSuffix(".xctest") }.map(Host.resolved) ?? bundle
    return String(tests[..<(tests.lastIndex(of: "/") ?? tests.endIndex)]) + "/cowmount"
  }()

  /// A mount whose calls fail while a file is there.
  struct Faulty {
    let daemon: Daemon
    let file: String
    let place: String
    let trigger: String

    /// - Parameters:
    ///   - rules: as in COWMOUNT_TEST_FAULTS, without triggers.
    ///   - options: of the command.
    ///   - isFailing: whether the file is there from the beginning.
    init(_ rules: String..., options: [String] = [], isFailing: Bool = false) async throws {
      let image = try sandbox.image(size: 16 << 20, data: [0..<12 << 20])
      let (place, overlays) = (try sandbox.directory("mnt"), try sandbox.directory("overlay"))
      trigger = try sandbox.directory("trigger") + "/on"
      if isFailing { try TestFile(trigger, O_CREAT | O_WRONLY).close() }
      let faults = rules.map { [trigger] in "\($0)@\(trigger)" }.joined(separator: ",")
      let result = try await attempt(
        debugBinary, options + ["--overlay-dir", overlays, image.path, place],
        variables: ["COWMOUNT_TEST_FAULTS": faults])
      guard result.succeeded, let daemon = Daemon.find(mentioning: place).first else {
        throw CommandFailure(result: result)
      }
      self.place = place
      self.daemon = daemon
      file = place + "/disk.img"
      sandbox.atEnd { [trigger, place] in
        unlink(trigger)
        if try MountEntry.at(place) != nil { try await run("umount", place) }
        #expect(try await eventually { !daemon.isAlive })
        #expect(try entries(overlays) == [])
      }
    }

    /// Files that are read and written without the kernel's cache: what fails shows at once.
    func open() throws -> TestFile { try TestFile(file, O_RDWR | O_DIRECT) }

    func fail() throws { try TestFile(trigger, O_CREAT | O_WRONLY).close() }
    func mend() { unlink(trigger) }
  }
#endif
