// Ending a mount whose image hangs: a first signal waits for what is under way, a second one does not, and neither do those
// who kill.

#if DEBUG
  import Glibc
  import SystemPackage
  import Testing

  extension Mounted {
    @Suite(.needs(.program(debugBinary))) struct HungEnd {
      /// A signal lets a request that is being served come to its end; a second one does not wait for it.
      @Test(arguments: [1, 2])
      func endWhileTheBaseIsSlow(signals: Int) async throws {
        let mount = try await Faulty(signals == 1 ? "base-read:delay=3000" : "base-read:delay=60000")
        try mount.fail()
        let reader = Task { try await attempt("head", ["-c", "10", mount.file], limit: .seconds(30)) }
        try await Task.sleep(for: .milliseconds(500))
        kill(mount.daemon.pid, SIGTERM)
        try await Task.sleep(for: .seconds(1))
        #expect(mount.daemon.isAlive, "it ended before the request did")
        if signals == 2 { kill(mount.daemon.pid, SIGTERM) }
        #expect(try await eventually(within: .seconds(8)) { !mount.daemon.isAlive })
        #expect(try MountEntry.at(mount.place) == nil)
        let result = try await reader.value
        #expect(result.status < 128, "the reader hung: \(result)")
      }

      /// While the image is still looked at, for as long as it takes: an interrupt, whoever waits for the mount gives up, or
      /// the process that looks is killed, or the one that started it.
      @Test(arguments: ["interrupt", "keeper", "starter", "server"])
      func endWhileTheImageIsLookedAt(victim: String) async throws {
        let image = try sandbox.image(size: 1 << 20)
        let (place, trigger) = (try sandbox.directory("mnt"), try sandbox.directory("trigger") + "/on")
        try TestFile(trigger, O_CREAT | O_WRONLY).close()
        let running = Task {
          try await attempt(
            debugBinary, [image.path, place], variables: ["COWMOUNT_TEST_FAULTS": "base-read:delay=60000@\(trigger)"],
            limit: .seconds(20))
        }
        func all() -> [Daemon] { Daemon.find(mentioning: place) }
        #expect(try await eventually { all().contains { $0.family.count == 3 } })
        let keeper = try #require(all().first { $0.family.count == 3 })
        let family = keeper.family
        switch victim {
        case "interrupt": kill(keeper.pid, SIGTERM)
        case "keeper": kill(keeper.pid, SIGKILL)
        case "server": kill(keeper.server.pid, SIGKILL)
        default: kill(try #require(all().first { $0 != keeper }).pid, SIGKILL)
        }
        #expect(try await eventually { family.allSatisfy { !$0.isAlive } }, "some of \(family) still run")
        let result = try await running.value
        switch victim {
        case "interrupt": expectOneLine(result, naming: ["killed by signal 15"], status: 1)
        case "keeper": expectOneLine(result, naming: ["killed by signal 9"], status: 1)
        case "server": expectOneLine(result, naming: [image.path, "was killed by signal 9"], status: 1)
        default: #expect(result.status == 128 + SIGKILL)
        }
        #expect(try MountEntry.at(place) == nil)
      }

      /// A seek has the kernel write back what it holds, which hangs: neither a kill nor a second signal minds.
      @Test(arguments: [[SIGKILL], [SIGTERM, SIGTERM]])
      func endWhileASeekWaitsForWriteBack(signals: [CInt]) async throws {
        let mount = try await Faulty("overlay-write:delay=60000")
        let file = try TestFile(mount.file)
        try mount.fail()
        try file.write(Pattern().bytes(4096), at: 14 << 20)
        let server = mount.daemon.server
        let seeker = Task.detached { try TestFile(mount.file, O_RDONLY).nextData(13 << 20) }
        try await Task.sleep(for: .milliseconds(500))
        for signal in signals {
          kill(mount.daemon.pid, signal)
          try await Task.sleep(for: .milliseconds(300))
        }
        #expect(try await eventually(within: .seconds(8)) { !mount.daemon.isServing && !server.isServing })
        // While the mount is being taken down, a hole may still be called data; what matters is that the seek returns.
        _ = try? await seeker.value
        if try MountEntry.at(mount.place) != nil { await sandbox.forceUnmount(mount.place) }
      }

      /// An image in another mount, whose server is stopped, or has taken a read that it does not answer. The process may
      /// be stuck in that for as long as it lasts, but whoever uses its mount is not.
      @Test(.needs(.root, .program("setpriv"), .program("fusermount3")), arguments: [true, false], [true, false])
      func endWhileTheImageHangs(isStopped: Bool, isRoot: Bool) async throws {
        try await withDeviceForEverybody {
          let below = try await Faulty("base-read:delay=60000")
          let (place, overlays) = try (sandbox.directory("mnt"), sandbox.directory("overlay"))
          for directory in [place, overlays] where !isRoot { chown(directory, 65534, 65534) }
          let cowmount = try sandbox.directory("bin") + "/cowmount"
          try await run("cp", Host.cowmount, cowmount)
          let arguments = [cowmount, "--overlay-dir", overlays, below.file, place]
          let begun = try await attempt("setpriv", (isRoot ? ["--"] : nobody) + arguments)
          #expect(begun.succeeded, "\(begun)")
          let daemon = try #require(Daemon.find(mentioning: place).first)
          let server = daemon.server
          sandbox.atEnd {
            below.daemon.killAll()
            #expect(try await eventually { !server.isServing })
            if try MountEntry.at(place) != nil { await sandbox.forceUnmount(place) }
          }
          if isStopped { kill(below.daemon.server.pid, SIGSTOP) } else { try below.fail() }
          // Far from the image's beginning, which the kernel has read ahead when its format was looked for.
          let reading = (isRoot ? ["--"] : nobody) + ["dd", "if=\(place)/disk.img", "bs=4k", "skip=2560", "count=20"]
          let reader = Task { try await attempt("setpriv", reading, limit: .seconds(20)) }
          try await Task.sleep(for: .milliseconds(500))
          kill(daemon.pid, SIGTERM)
          try await Task.sleep(for: .milliseconds(500))
          #expect(daemon.isServing, "it ended before the read did")
          kill(daemon.pid, SIGTERM)
          let result = try await reader.value
          #expect(result.status == 1, "\(result)")
          if isRoot { #expect(try MountEntry.at(place) == nil) }
        }
      }
    }
  }
#endif
