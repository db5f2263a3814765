// Texts: from the command line, from the kernel, and names that images have, on their way out.

internal import SystemPackage

@testable import DiskIO

/// A size that was taken is one that a file can have, and is written so that it is read as the same.
func fuzzByteSize(_ input: inout Input) {
  let text = input.text()
  guard let size = ByteSize(argument: text) else { return }
  require(size.bytes <= UInt64(Int64.max), "'\(text)' is \(size.bytes)")
  require(ByteSize(argument: size.description) == size, "'\(text)' is written as \(size)")
  require(text.utf8.contains { $0 >= 0x30 && $0 <= 0x39 }, "'\(text)' has no digit")
}

/// What is not in -o stays as it is and where it is, nothing of ours is left in what libfuse gets, and libfuse, which takes
/// its list apart as we do, finds the image in it.
func fuzzMountOptions(_ input: inout Input) {
  // Arguments have any bytes but zeros.
  let text = input.bytes().filter { $0 != 0 }
  let arguments = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map {
    String(decoding: $0, as: UTF8.self)
  }
  let expanded = MountOptions.expand(arguments)
  if let end = arguments.firstIndex(of: "--"), !arguments[..<end].contains(where: { $0.utf8.starts(with: "-o".utf8) }) {
    require(expanded == arguments, "\(arguments) became \(expanded)")
  }
  require(MountOptions.expand(expanded) == expanded, "\(expanded) became \(MountOptions.expand(expanded))")
  let lists = zip(expanded, expanded.dropFirst()).filter { $0.0 == "-o" }.map(\.1)
  let image = arguments.last ?? ""
  let forFuse = MountOptions(lists).forFuse(image: image, readOnly: arguments.count % 2 == 0)
  require(!forFuse.contains(""), "an empty option: \(forFuse)")
  let names = forFuse.filter { $0.utf8.starts(with: "fsname=".utf8) || $0 == "fsname" }
  require(!names.isEmpty, "no fsname: \(forFuse)")
  if !lists.contains(where: { $0.contains("fsname") }) {
    require(names.count == 1 && unescape(names[0]) == "fsname=" + image, "\(image) is \(names)")
  }
}

/// As libfuse does it (fuse_opt.c, process_real_option_group): a backslash is left out and what is behind it stays. Where an
/// option ends, nil is no longer all of the text.
private func unescape(_ text: String) -> String? {
  var unescaped = ""
  var isEscaped = false
  for character in text.unicodeScalars {
    if !isEscaped, character == "," { return nil }
    isEscaped = !isEscaped && character == "\\"
    if !isEscaped { unescaped.unicodeScalars.append(character) }
  }
  return unescaped
}

/// Each line is one mount or none, and what the kernel writes for a path is read as that path.
func fuzzMountTable(_ input: inout Input) {
  let text = input.text()
  let entries = MountTable.parse(Array(text.utf8))
  require(entries.count <= text.utf8.split(separator: UInt8(ascii: "\n")).count, "\(entries.count) mounts")
  for entry in entries { require(!entry.device.utf8.contains(UInt8(ascii: " ")), "the device is '\(entry.device)'") }

  // seq_path, mangle: blanks, tabs, newlines, backslashes and # become octal numbers.
  let special = [0x20, 0x09, 0x0A, 0x5C, 0x23] as [UInt8]
  let name = text.utf8.filter { $0 != 0 && $0 != UInt8(ascii: "/") }
  let escaped = name.flatMap { byte in
    special.contains(byte) ? Array("\\\(byte >> 6)\(byte >> 3 & 7)\(byte & 7)".utf8) : [byte]
  }
  let written = String(decoding: escaped, as: UTF8.self)
  let line = "36 35 98:0 / /\(written) rw - fuse.cowmount \(written) rw\n"
  let path = FilePath("/" + String(decoding: name, as: UTF8.self))
  let read = MountTable.parse(Array(line.utf8))
  require(read.map(\.mountpoint) == [path], "\(path) is read as \(read)")
}

/// Any name is one string: quoted, without control characters, and the same when read again.
func fuzzJSON(_ input: inout Input) {
  let text = input.text()
  let quoted = JSON.string(text).text
  require(quoted.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }, "\(quoted)")
  require(unquote(quoted) == text, "'\(text)' became \(quoted)")
}

/// Reads a JSON string; nil where it is none.
private func unquote(_ text: String) -> String? {
  var rest = Array(text.unicodeScalars)[...]
  guard rest.popFirst() == "\"" else { return nil }
  var unquoted = String.UnicodeScalarView()
  while let scalar = rest.popFirst() {
    if scalar == "\"" { return rest.isEmpty ? String(unquoted) : nil }
    guard scalar == "\\" else {
      unquoted.append(scalar)
      continue
    }
    switch rest.popFirst() {
    case "n": unquoted.append("\n")
    case "t": unquoted.append("\t")
    case "u":
      let digits = String(String.UnicodeScalarView(rest.prefix(4)))
      rest = rest.dropFirst(4)
      guard let value = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(value) else { return nil }
      unquoted.append(scalar)
    case let other? where other == "\"" || other == "\\": unquoted.append(other)
    default: return nil
    }
  }
  return nil
}
