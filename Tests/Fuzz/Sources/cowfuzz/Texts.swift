// Texts from the command line and from the kernel.

@testable import FuseSession

/// A size that was taken is one that a file can have, and is written so that it is read as the same.
func fuzzByteSize(_ input: inout Input) {
  let text = input.text()
  guard let size = ByteSize(argument: text) else { return }
  require(size.bytes <= UInt64(Int64.max), "'\(text)' is \(size.bytes)")
  require(ByteSize(argument: size.description) == size, "'\(text)' is written as \(size)")
}

/// What is not in -o stays as it is and where it is, and nothing of ours is left in what libfuse gets.
func fuzzMountOptions(_ input: inout Input) {
  let arguments = input.text().split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  let expanded = MountOptions.expand(arguments)
  if let end = arguments.firstIndex(of: "--"), !arguments[..<end].contains(where: { $0.hasPrefix("-o") }) {
    require(expanded == arguments, "\(arguments) became \(expanded)")
  }
  let lists = zip(expanded, expanded.dropFirst()).filter { $0.0 == "-o" }.map(\.1)
  let forFuse = MountOptions(lists).forFuse(image: arguments.last ?? "", readOnly: arguments.count % 2 == 0)
  require(forFuse.contains { $0.hasPrefix("fsname=") || $0 == "fsname" }, "no fsname: \(forFuse)")
  require(!forFuse.contains(""), "an empty option: \(forFuse)")
}

/// Each line is one mount or none.
func fuzzMountTable(_ input: inout Input) {
  let text = input.text()
  let entries = MountTable.parse(text)
  require(entries.count <= text.split(separator: "\n").count, "\(entries.count) mounts")
  for entry in entries { require(!entry.device.contains(" "), "the device is '\(entry.device)'") }
}
