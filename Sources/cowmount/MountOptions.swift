// The argument of -o: what goes to libfuse, and long options of ours, so that /etc/fstab and mount(8), which hand over
// nothing but -o, can use all of them.

internal import ArgumentParser
internal import Glibc
internal import SystemPackage

/// The options of all -o arguments in their order.
struct MountOptions {
  private let options: [String]

  /// Splits comma lists; a comma behind a backslash belongs to its option, as in libfuse.
  init(_ arguments: [String]) {
    options = arguments.flatMap(Self.split).filter { !$0.isEmpty }
  }

  private static func split(_ list: String) -> [String] {
    var options = [""]
    var isEscaped = false
    for character in list {
      if character == ",", !isEscaped {
        options.append("")
      } else {
        options[options.count - 1].append(character)
      }
      isEscaped = character == "\\" && !isEscaped
    }
    return options
  }

  /// Options of ours that take a value.
  private static let valued = ["block-size", "name", "overlay-dir", "threads"]
  private static let flags = ["nonempty", "read-only", "ro", "rw"]

  private static func key(_ option: String) -> String { String(option.prefix { $0 != "=" }) }

  /// Sets what is ours in the command.
  ///
  /// - Throws: `ValidationError` where a value does not fit.
  func apply(to mount: inout Mount) throws {
    for option in options {
      let key = Self.key(option)
      let value = String(option.dropFirst(key.count + 1))
      switch key {
      case "nonempty": mount.nonempty = true
      case "read-only", "ro": mount.readOnly = true
      case "name": mount.name = value
      case "overlay-dir": mount.overlayDir = value
      case "block-size":
        guard let size = ByteSize(argument: value) else { throw ValidationError("-o \(option) is not a size") }
        mount.blockSize = size
      case "threads":
        guard let number = Int(value) else { throw ValidationError("-o \(option) is not a number") }
        mount.threads = number
      default: break
      }
    }
  }

  /// What libfuse gets, with what every mount of ours has.
  func forFuse(image: String, readOnly: Bool) -> [String] {
    var forFuse = options.filter { !Self.flags.contains($0) && !Self.valued.contains(Self.key($0)) }
    if !forFuse.contains(where: { Self.key($0) == "fsname" }) {
      forFuse.append("fsname=" + Self.escape(image))
    }
    if !forFuse.contains(where: { Self.key($0) == "subtype" }) { forFuse.append("subtype=cowmount") }
    if readOnly { forFuse.append("ro") }
    if geteuid() == 0 {
      // Everybody may reach it, and the kernel checks owner and mode, which are the image's.
      for option in ["allow_other", "default_permissions"] where !forFuse.contains(option) { forFuse.append(option) }
    }
    return forFuse
  }

  private static func escape(_ value: String) -> String {
    var escaped = ""
    for character in value {
      if character == "," || character == "\\" { escaped.append("\\") }
      escaped.append(character)
    }
    return escaped
  }
}
