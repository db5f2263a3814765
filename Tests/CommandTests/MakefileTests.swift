// The Makefile does what others say of it: the README names its commands, the package what has to be installed.

import Testing

@Suite struct MakefileTests {
  @Test func commandsInReadmeExist() throws {
    let targets = try lines(of: "Makefile").compactMap { line in
      line.firstMatch(of: /^([a-z-]+):/).map { String($0.1) }
    }
    let named = try text(of: "README.md").matches(of: /\bmake ([a-z-]+)\b/).map { String($0.1) }
    #expect(Set(named).subtracting(targets).isEmpty, "in the README, not in the Makefile")
    // The two that a newcomer is told first.
    #expect(Array(named.prefix(2)) == ["demo", "test"])
    #expect(targets.count > 8)
  }

  @Test func librariesOfThePackageAreInstalled() throws {
    let packages = try text(of: "Package.swift").matches(of: /\.apt\(\["([a-z0-9.-]+)"\]\)/).map { String($0.1) }
    let makefile = try text(of: "Makefile").split { " \n".contains($0) }
    #expect(!packages.isEmpty)
    for package in packages {
      #expect(makefile.contains { $0.hasSuffix("=" + package) }, "\(package) is not in the Makefile")
    }
  }
}
