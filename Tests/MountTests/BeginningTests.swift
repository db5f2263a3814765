// A mount that comes to its end while it is being made: whoever asked for it gave up, or its keeper was killed. A stand-in for
// fusermount3, which does the work of the real one, brings these moments about.

import Glibc
import Testing

extension Mounted {
  @Suite(.needs(.root, .program("setpriv"), .program("fusermount3"), .program("unshare"))) struct Beginnings {
    /// Mounts as an ordinary user where `hook` is run with `$keeper` in fusermount3's place, and then `script` with `$p`, the
    /// process that was started.
    private func begin(_ options: String, hook: String, then script: String) async throws -> CommandResult {
      let home = try sandbox.directory("home")
      for name in ["/mnt", "/overlay"] {
        mkdir(home + name, 0o755)
        chown(home + name, 65534, 65534)
      }
      try await run("cp", Host.cowmount, home + "/cowmount")
      let program = try #require(Host.find("fusermount3"))
      // It is called to unmount, too.
      let standIn = #"""
        #!/bin/sh
        keeper=$PPID
        real=\#(home)/real
        case " $* " in *" -u "*) exec "$real" "$@" ;; esac
        stop_server() { for child in $(cat /proc/$keeper/task/*/children); do
          if grep -q cowmount-serve /proc/$child/comm; then kill -STOP $child; fi; done; }
        \#(hook)

        """#
      try TestFile(home + "/stand-in", O_RDWR | O_CREAT, mode: 0o755).write(Array(standIn.utf8), at: 0)
      try TestFile(home + "/real", O_RDWR | O_CREAT).close()
      let image = try sandbox.image(size: 4096, mode: 0o644)
      let frame = #"""
        home=$1
        mount --bind "$3" "$home/real"
        mount --bind "$home/stand-in" "$3"
        is_mounted() { grep -q " $home/mnt " /proc/self/mountinfo; }
        keeper() { for q in /proc/[0-9]*; do
          if [ "$(cat $q/comm 2>/dev/null)" = cowmount ] && tr '\0' ' ' <$q/cmdline | grep -q "$home/mnt" &&
            [ "$(cat $q/task/*/children 2>/dev/null | wc -w)" -gt 1 ]; then basename $q; fi; done; }
        server() { for child in $(cat /proc/$1/task/*/children); do
          if grep -q cowmount-serve /proc/$child/comm; then echo $child; fi; done; }
        wait_for() { n=0; until "$@"; do n=$((n + 1)); test $n -lt 200 || { echo "in vain: $*"; return; }; sleep 0.05; done; }
        is_gone() { ! is_mounted && ! kill -0 $k 2>/dev/null; }
        setpriv \#(nobody.joined(separator: " ")) "$home/cowmount" \#(options) --overlay-dir "$home/overlay" "$2" "$home/mnt" &
        p=$!
        \#(script)
        """#
      var result: CommandResult?
      try await withDeviceForEverybody {
        result = try await attempt(
          "unshare", ["--mount", "sh", "-uc", frame, "sh", home, image.path, program], limit: .seconds(40))
      }
      #expect(try await eventually { Daemon.processes(mentioning: home).allSatisfy { !$0.isAlive } })
      #expect(try entries(home + "/overlay") == [])
      return try #require(result)
    }

    /// The guard was not told which mount it is.
    @Test func theKeeperIsKilledAsSoonAsTheMountStands() async throws {
      let result = try await begin(
        "", hook: #""$real" "$@"; kill -KILL $keeper"#,
        then: #"""
          wait $p; echo "status $?"
          not_mounted() { ! is_mounted; }
          wait_for not_mounted
          """#)
      #expect(result.output == "status 1\n", "\(result)")
      #expect(result.errors.contains("killed by signal 9"), "\(result)")
    }

    /// A signal to the command in the foreground, and the end of the one who waits for it in the background.
    @Test(arguments: [("--foreground", "TERM", "1"), ("", "KILL", "137")])
    func whoAskedForItGivesUp(option: String, signal: String, status: String) async throws {
      let result = try await begin(
        option, hook: #"stop_server; exec "$real" "$@""#,
        then: #"""
          wait_for is_mounted; k=$(keeper)
          kill -\#(signal) $p; wait $p 2>/dev/null; echo "status $?"
          wait_for is_gone
          """#)
      #expect(result.output == "status \(status)\n", "\(result)")
    }

    /// Just when the mount can be used, there is nobody left to be told so.
    @Test func theStarterIsKilledBeforeItIsTold() async throws {
      let result = try await begin(
        "", hook: #"stop_server; exec "$real" "$@""#,
        then: #"""
          wait_for is_mounted; k=$(keeper)
          kill -STOP $k; kill -CONT $(server $k)
          stat "$home/mnt" >/dev/null 2>&1; sleep 0.3
          kill -KILL $p; wait $p 2>/dev/null; echo "status $?"
          kill -CONT $k
          wait_for is_gone
          """#)
      #expect(result.output == "status 137\n", "\(result)")
    }
  }
}
