// What `make install` and the Debian package put where, and that `make uninstall` takes all of it away.

import ArgumentParser
import DiskIO
import Glibc
import SystemPackage
import Testing

@testable import cowmount

@Suite struct InstallTests {
  @Test func uninstallTakesAwayWhatInstallPut() throws {
    let stage = try Stage()
    #expect(try stage.make("install", "PREFIX=/usr") == 0)
    let files = try stage.files()
    #expect(
      Set(files).isSuperset(of: [
        "usr/bin/cowmount", "usr/sbin/mount.cowmount", "usr/share/man/man1/cowmount.1",
        "usr/share/man/man8/mount.cowmount.8", "usr/share/bash-completion/completions/cowmount",
        "usr/share/zsh/site-functions/_cowmount", "usr/share/fish/vendor_completions.d/cowmount.fish",
        "usr/lib/systemd/system/cowmount@.service", "usr/share/licenses/cowmount/LICENSE",
      ]), "\(files)")
    #expect(try stage.make("uninstall", "PREFIX=/usr") == 0)
    #expect(try stage.files() == [])
  }

  /// mount(8) finds its helper wherever the program is installed for all; elsewhere, all stays below PREFIX.
  @Test(arguments: [("/usr", "usr/sbin"), ("/usr/local", "usr/sbin"), ("/home/joe", "home/joe/sbin")])
  func helperLeadsToTheProgram(prefix: String, folder: String) throws {
    let stage = try Stage()
    #expect(try stage.make("install", "PREFIX=" + prefix) == 0)
    #expect(access(stage.path + "/" + folder + "/mount.cowmount", X_OK) == 0)
  }

  /// systemd has nothing to say about the service.
  @Test(.enabled(if: access("/usr/bin/systemd-analyze", X_OK) == 0, "no systemd-analyze here"))
  func serviceIsValid() throws {
    let stage = try Stage()
    let unit = stage.path + "/cowmount@.service"
    // The program has to be there, and is not.
    let script = """
      sed 's|^ExecStart=cowmount|ExecStart=/bin/true|' '\(root.string)/Sources/packaging/cowmount@.service' >'\(unit)'
      systemd-analyze verify --man=no '\(unit)' >'\(stage.path)/words' 2>&1
      """
    #expect(stage.shell(script) == 0)
    #expect(try File.readText(FilePath(stage.path + "/words")) == "")
  }

  @Test func packageHasTheVersionOfTheCommand() throws {
    let version = Cowmount.configuration.version.split(separator: " ").last ?? ""
    #expect(try lines(of: "Sources/packaging/debian/changelog").first?.hasPrefix("cowmount (\(version)-") == true)
  }
}

/// A folder to install to, with a program that does nothing.
private struct Stage: ~Copyable {
  let path: String

  init() throws {
    var template = Array("/tmp/cowmount-stage.XXXXXX".utf8CString)
    path = try #require(mkdtemp(&template).map { String(cString: $0) })
  }

  deinit { _ = shell("rm -rf '\(path)'") }

  func make(_ target: String, _ variable: String) throws -> CInt {
    shell(
      "make --no-print-directory --directory '\(root.string)' \(target) \(variable) DESTDIR='\(path)' BINARY=/bin/true >/dev/null"
    )
  }

  /// All that is no directory, below the folder.
  func files() throws -> [String] {
    let list = path + ".list"
    guard shell("cd '\(path)' && find . ! -type d -printf '%P\\n' >'\(list)'") == 0 else { return ["?"] }
    defer { unlink(list) }
    return try File.readText(FilePath(list)).split(separator: "\n").map(String.init).sorted()
  }

  func shell(_ script: String) -> CInt { system(script) }
}
