// Called by mount(8), as /sbin/mount.cowmount, for `mount -t cowmount` and lines of /etc/fstab: other options, and other
// statuses at the end.
//
//     mount.cowmount IMAGE DIR [-sfnv] [-N namespace] [-o options] [-t type]

internal import ArgumentParser
internal import Glibc

enum MountHelper {
  /// The name that mount(8) looks for.
  static let name = "mount.cowmount"

  /// What a command line of mount(8) comes to.
  struct Request: Equatable {
    /// The same for cowmount.
    var arguments: [String]
    /// Whether everything is to be done but the mount.
    var isFake: Bool
  }

  /// Whether this is what the process was started as.
  static var isCalled: Bool {
    guard let program = CommandLine.arguments.first else { return false }
    return program.split(separator: "/").last.map(String.init) == name
  }

  /// Takes mount(8)'s arguments without the program's name.
  static func request(_ arguments: [String]) throws -> Request {
    var request = Request(arguments: [], isFake: false)
    var operands: [String] = []
    var rest = arguments[...]
    while let word = rest.popFirst() {
      var letters = word.unicodeScalars.dropFirst()
      guard word.hasPrefix("-"), !letters.isEmpty else {
        operands.append(word)
        continue
      }
      while let letter = letters.popFirst() {
        switch letter {
        case "f": request.isFake = true
        case "v": request.arguments.append("--verbose")
        // There is no /etc/mtab to keep, and nothing to be sloppy about.
        case "n", "s": break
        case "o", "t", "N":
          let value = letters.isEmpty ? rest.popFirst() : String(letters)
          letters = letters.prefix(0)
          guard let value else { throw ValidationError("-\(letter) needs a value") }
          if letter == "N" {
            throw ValidationError("-N is not supported: enter the namespace with nsenter, and mount there")
          }
          if letter == "o" { request.arguments += ["-o", value] }
        default: throw ValidationError("\(name) has no option -\(letter): it is for mount(8); use cowmount")
        }
      }
    }
    guard operands.count == 2 else {
      throw ValidationError("\(name) takes an image and a mountpoint: mount -t cowmount IMAGE DIR")
    }
    request.arguments += ["--"] + operands
    return request
  }

  /// The status that mount(8) has for how cowmount ended.
  static func status(for code: CInt) -> CInt {
    switch code {
    case 0: 0
    case ExitCode.validationFailure.rawValue: 1
    default: 32
    }
  }
}
