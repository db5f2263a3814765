// The rule about imports that the build does not check. (Who sees which target is said in Package.swift.)

import Glibc
import SystemPackage
import Testing

@Suite struct ImportTests {
  @Test func nobodyImportsFoundation() throws {
    for (path, imported) in try imports() {
      #expect(!imported.hasPrefix("Foundation"), "\(path) imports \(imported)")
    }
  }

  private func imports() throws -> [(path: String, module: String)] {
    let files = try swiftFiles(below: "Sources") + swiftFiles(below: "Tests")
    #expect(files.count > 40)
    return try files.flatMap { path in
      try lines(of: path).compactMap { line in
        line.firstMatch(of: /^ *(@[a-z]+ )?([a-z]+ )?import ([A-Za-z]+ )?([A-Za-z]+)/).map { (path, String($0.4)) }
      }
    }
  }

  private func swiftFiles(below folder: String) throws -> [String] {
    let directory = try #require(opendir(root.appending(folder).string))
    defer { closedir(directory) }
    var files: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name.hasPrefix(".") { continue }
      let path = folder + "/" + name
      if name.hasSuffix(".swift") { files.append(path) }
      if Int32(entry.pointee.d_type) == Int32(DT_DIR) { files += try swiftFiles(below: path) }
    }
    return files
  }
}
