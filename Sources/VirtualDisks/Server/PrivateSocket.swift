// A listening Unix socket that one server is handed and one client can reach, and nobody else.
//
// It needs a name for as long as it takes to bind it, in a directory of its own that is closed to others; both are removed
// at once. What stays is a descriptor of the place (O_PATH), through which this process, and no other, connects as often as it
// likes: /proc/self/fd/N. So nothing is left in the file system however the process ends, and a lost connection to the
// same server can be made again.

internal import CLinux
internal import DiskIO
internal import Glibc
internal import SystemPackage

/// The client's side of a private socket.
struct PrivateSocket: ~Copyable {
  private let place: File

  /// A client may make several connections before any is accepted.
  private static let backlog: CInt = 64

  /// Makes a socket in a directory of its own.
  ///
  /// - Parameters:
  ///   - parents: where to make the directory, in the order of preference.
  ///   - handOver: gives the listening socket away. After that this process does not have it any more: when the server ends,
  ///     nobody listens, and whoever connects is told so.
  init(in parents: [String] = Self.usualParents, handOver: (_ listener: CInt) throws(Errno) -> Void) throws(Errno) {
    let directory = try Self.directory(in: parents)
    let path = directory + "/nbd"
    defer {
      unlink(path)
      rmdir(directory)
    }
    let listener = try Self.listening(at: path)
    // Whatever the umask: the client may be another user by the time it connects. Only who has the place can.
    guard chmod(path, 0o666) == 0 else { throw .current }
    let descriptor = open(path, clinux_o_path | O_CLOEXEC)
    guard descriptor != -1 else { throw .current }
    let place = File(adopting: descriptor)
    try handOver(listener.descriptor)
    self.place = place
  }

  /// The descriptor of the place.
  var descriptor: CInt { place.descriptor }

  /// Where this process can connect to.
  var path: String { "/proc/self/fd/\(place.descriptor)" }

  /// $XDG_RUNTIME_DIR, and /tmp where that is not to be had.
  static var usualParents: [String] { (RuntimeDirectory.ofUser.map { [$0] } ?? []) + ["/tmp"] }

  /// A new directory that is closed to others.
  private static func directory(in parents: [String]) throws(Errno) -> String {
    var failure = Errno.noSuchFileOrDirectory
    for parent in parents {
      var template = Array("\(parent)/cowmount-XXXXXX".utf8CString)
      // A socket's path has less room than others.
      guard template.count + "/nbd".utf8.count <= MemoryLayout.size(ofValue: sockaddr_un().sun_path) else { continue }
      if mkdtemp(&template) != nil {
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      }
      failure = .current
    }
    throw failure
  }

  private static func listening(at path: String) throws(Errno) -> File {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor != -1 else { throw .current }
    let listener = File(adopting: descriptor)
    let size = socklen_t(MemoryLayout.size(ofValue: address))
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, size) }
    }
    guard result == 0, listen(descriptor, Self.backlog) == 0 else { throw .current }
    return listener
  }
}
