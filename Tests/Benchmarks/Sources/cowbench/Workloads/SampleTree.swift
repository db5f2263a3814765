// A tree of files as a tar archive, the same on every machine: mostly small files, a few large, as sources are.

import SystemPackage

struct SampleTree {
  let files: Int

  /// Writes the archive: folders of a hundred files each, under `tree/`.
  func write(to path: FilePath) throws {
    var numbers = SeededGenerator(seed: 2)
    let content = (0..<(1 << 17)).map { _ in numbers.next() }
    let file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .truncate], permissions: [.ownerReadWrite])
    try file.closeAfter {
      try append(header("tree/", size: 0, folder: true), to: file)
      for index in 0..<files {
        if index % 100 == 0 {
          try append(header("tree/\(index / 100)/", size: 0, folder: true), to: file)
        }
        let size = self.size(numbers.next())
        try append(header("tree/\(index / 100)/\(index).c", size: size, folder: false), to: file)
        // Another start in the content for each, so that no two files are the same.
        let start = Int(numbers.next() % 4096) * 8
        try content.withUnsafeBytes { _ = try file.writeAll($0[start..<(start + size)]) }
        try append([UInt8](repeating: 0, count: (512 - size % 512) % 512), to: file)
      }
      try append([UInt8](repeating: 0, count: 1024), to: file)
    }
  }

  /// Nine in ten between 0 and 16 KiB, the tenth up to 512 KiB: 33 KiB on average.
  private func size(_ random: UInt64) -> Int {
    let wide = random >> 8
    return random % 10 < 9 ? Int(wide % (16 << 10)) : Int(wide % (512 << 10))
  }

  private func append(_ bytes: [UInt8], to file: FileDescriptor) throws {
    _ = try file.writeAll(bytes)
  }

  /// A ustar header: fixed fields, numbers in octal, and the sum of all bytes with its own field as spaces.
  private func header(_ name: String, size: Int, folder: Bool) -> [UInt8] {
    var block = [UInt8](repeating: 0, count: 512)
    func put(_ text: String, at offset: Int) {
      for (index, byte) in text.utf8.enumerated() { block[offset + index] = byte }
    }
    func octal(_ number: Int, digits: Int) -> String {
      let text = String(number, radix: 8)
      return String(repeating: "0", count: digits - text.count) + text
    }
    put(name, at: 0)
    put(folder ? "0000755" : "0000644", at: 100)
    put("0000000", at: 108)
    put("0000000", at: 116)
    put(octal(size, digits: 11), at: 124)
    put(octal(1_600_000_000, digits: 11), at: 136)
    put("        ", at: 148)
    put(folder ? "5" : "0", at: 156)
    put("ustar", at: 257)
    put("00", at: 263)
    put(octal(block.reduce(0) { $0 + Int($1) }, digits: 6), at: 148)
    block[154] = 0
    return block
  }
}
