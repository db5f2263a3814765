// The argument of -o: what goes to libfuse, and long options of ours, so that /etc/fstab and mount(8), which hand over
// nothing but -o, can use all of them.
//
// Ours are turned into long options before the command line is parsed: what -o can say, and what is wrong with a value, is
// then said in one place, by the options themselves.

internal import Glibc

/// The options of all -o arguments in their order.
struct MountOptions {
  private let options: [String]

  /// Splits comma lists; a comma behind a backslash belongs to its option, as in libfuse.
  ///
  /// Like libfuse, nothing here knows characters that are more than one scalar: a comma with an accent is a comma.
  init(_ arguments: [String]) {
    options = arguments.flatMap(Self.split).filter { !$0.isEmpty }
  }

  private static func split(_ list: String) -> [String] {
    var options = [String.UnicodeScalarView()]
    var isEscaped = false
    for scalar in list.unicodeScalars {
      if scalar == ",", !isEscaped {
        options.append(String.UnicodeScalarView())
      } else {
        options[options.count - 1].append(scalar)
      }
      isEscaped = scalar == "\\" && !isEscaped
    }
    return options.map { String($0) }
  }

  /// Long options of ours that take a value.
  private static let valued: Set = [
    "base-cache", "block-size", "connections", "cow-on-read-while", "detect-zeroes", "format", "length", "max-block",
    "max-overlay",
    "name", "offset", "overlay-dir", "partition", "pid-file", "reconnect", "round-down", "round-up", "sector-size",
    "size",
    "threads", "xz-max-block", "xz-max-depth",
  ]
  /// Long options of ours that take none.
  private static let flags: Set = [
    "cow-on-read", "decompress", "force-share", "memory", "nonempty", "prefetch", "read-only", "verbose",
  ]
  /// What is for those that read /etc/fstab, and reaches us all the same: mount(8), systemd and others.
  private static let forOthers: Set = [
    "_netdev", "auto", "comment", "defaults", "group", "noauto", "nofail", "nogroup", "noowner", "nouser", "owner",
    "user",
    "users",
  ]

  /// The long options that -o takes, without their dashes.
  static var ours: Set<String> { valued.union(flags) }

  /// Puts long options in the place of those in -o arguments that are ours.
  static func expand(_ arguments: [String]) -> [String] {
    var expanded: [String] = []
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      if argument == "--" { return expanded + [argument] + rest }
      if argument == "-o", let list = rest.popFirst() {
        expanded += expand(list: list)
      } else if argument.utf8.starts(with: "-o".utf8), argument != "-o" {
        expanded += expand(list: String(argument.unicodeScalars.dropFirst(2)))
      } else {
        expanded.append(argument)
      }
    }
    return expanded
  }

  private static func expand(list: String) -> [String] {
    var ours: [String] = []
    var others: [String] = []
    for option in split(list) {
      let key = key(option)
      let value = option.unicodeScalars.dropFirst(key.unicodeScalars.count + 1)
      switch key {
      case "ro": ours.append("--read-only")
      case "rw": break
      case _ where forOthers.contains(key) || key.hasPrefix("x-") || key.hasPrefix("X-"): break
      case _ where flags.contains(option): ours.append("--" + option)
      case _ where valued.contains(key): ours.append("--\(key)=\(unescape(value))")
      default: others.append(option)
      }
    }
    return ours + (others.isEmpty ? [] : ["-o", others.joined(separator: ",")])
  }

  private static func key(_ option: String) -> String { String(option.unicodeScalars.prefix { $0 != "=" }) }

  private static func unescape(_ value: some Sequence<Unicode.Scalar>) -> String {
    var unescaped = String.UnicodeScalarView()
    var isEscaped = false
    for scalar in value {
      isEscaped = scalar == "\\" && !isEscaped
      if !isEscaped { unescaped.append(scalar) }
    }
    return String(unescaped)
  }

  /// Whether they ask to change a mount that stands.
  var isRemount: Bool { options.contains("remount") }

  /// Their names, without values.
  var names: [String] { options.map(Self.key) }

  /// What libfuse gets, with what every mount of ours has.
  func forFuse(image: String, readOnly: Bool) -> [String] {
    var forFuse = options
    if !forFuse.contains(where: { Self.key($0) == "fsname" }) { forFuse.append("fsname=" + Self.escape(image)) }
    if !forFuse.contains(where: { Self.key($0) == "subtype" }) { forFuse.append("subtype=cowmount") }
    if readOnly { forFuse.append("ro") }
    // The kernel checks owner and mode, whoever gets in. With root's mount that is everybody.
    for option in ["default_permissions"] + (geteuid() == 0 ? ["allow_other"] : []) where !forFuse.contains(option) {
      forFuse.append(option)
    }
    return forFuse
  }

  private static func escape(_ value: String) -> String {
    var escaped = String.UnicodeScalarView()
    for scalar in value.unicodeScalars {
      if scalar == "," || scalar == "\\" { escaped.append("\\") }
      escaped.append(scalar)
    }
    return String(escaped)
  }
}
