// The URI of an export, as the NBD project writes it (doc/uri.md there). What it means is left to libnbd; here it is told
// from a path, and made independent of the current directory.

internal import DiskIO
public import Glibc
internal import Images
public import SystemPackage

/// An NBD URI.
public struct NbdURI: Equatable, Sendable {
  /// The URI, with absolute paths in it: a process in the background has another current directory.
  public let text: String

  private static let schemes = ["nbd", "nbds", "nbd+unix", "nbds+unix", "nbd+vsock", "nbds+vsock"]
  /// Parameters whose values are paths.
  private static let pathKeys = ["socket", "tls-certificates", "tls-psk-file"]

  /// Takes a text that begins with the scheme of an NBD URI; nil for any other. A file of such a name has to be written
  /// with its directory, as in `./nbd:`.
  ///
  /// - Parameter directory: what relative paths begin in.
  public init?(_ text: String, in directory: String = Self.currentDirectory) {
    guard let end = text.firstRange(of: "://"), Self.schemes.contains(String(text[..<end.lowerBound])) else {
      return nil
    }
    self.text = Self.absolute(text, in: directory)
  }

  /// The current directory.
  public static var currentDirectory: String {
    guard let path = getcwd(nil, 0) else { return "/" }
    defer { free(path) }
    return String(cString: path)
  }

  /// Whether TLS is asked for.
  var wantsTLS: Bool { text.hasPrefix("nbds") }

  /// The path of the Unix socket, where the URI has one.
  var socket: FilePath? { values(of: "socket").last }

  /// Who can reach the server, where not everybody may be able to: the owner of its Unix socket, and for TLS the caller, whose
  /// keys nobody else may read.
  public var user: (user: uid_t, group: gid_t)? {
    if wantsTLS { return (geteuid(), getegid()) }
    return socket.flatMap { try? FileStatus(of: $0) }.map { ($0.user, $0.group) }
  }

  /// Files and directories that it names, keys and certificates.
  public var files: [FilePath] { values(of: "tls-certificates") + values(of: "tls-psk-file") }

  private func values(of key: String) -> [FilePath] {
    guard let mark = text.firstIndex(of: "?") else { return [] }
    return text[mark...].dropFirst().split(separator: "&").filter { $0.hasPrefix(key + "=") }
      .map { FilePath(Self.decoded($0.dropFirst(key.count + 1))) }
  }

  private static func decoded(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), let code = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
        bytes.append(code)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func absolute(_ text: String, in directory: String) -> String {
    guard let mark = text.firstIndex(of: "?") else { return text }
    let query = text[mark...].dropFirst()
    let fields = query.split(separator: "&", omittingEmptySubsequences: false).map { field -> String in
      guard let equals = field.firstIndex(of: "="), pathKeys.contains(String(field[..<equals])) else {
        return String(field)
      }
      let path = field[equals...].dropFirst()
      if path.isEmpty || path.hasPrefix("/") || path.lowercased().hasPrefix("%2f") { return String(field) }
      return "\(field[..<equals])=\(encoded(directory))/\(path)"
    }
    return text[...mark] + fields.joined(separator: "&")
  }

  /// A path as it stands in a query.
  private static func encoded(_ path: String) -> String {
    var encoded = ""
    for byte in path.utf8 {
      let character = Unicode.Scalar(byte)
      if character.isASCII, character.properties.isAlphabetic || "0123456789/-._~".unicodeScalars.contains(character) {
        encoded.unicodeScalars.append(character)
      } else {
        encoded += "%" + byte.hexadecimal
      }
    }
    return encoded
  }

  /// The name of a file that shows an export: the last part of the export's name, or `disk.img` where that is none that a
  /// file can have.
  static func fileName(ofExport name: String) -> String {
    // In bytes: a slash with an accent behind it is a slash to the kernel.
    let last = name.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) } ?? ""
    return ["", ".", ".."].contains(last) || last.utf8.count > 255 ? "disk.img" : last
  }
}
