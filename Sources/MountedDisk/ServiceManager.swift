// Telling the service manager how a mount in its foreground is (sd_notify(3)).

internal import DiskIO
internal import Glibc
internal import Logging
internal import SystemPackage

/// The service manager's socket. Used by one thread.
final class ServiceManager {
  private let socket: File

  /// The environment variable that names the socket.
  static let variable = "NOTIFY_SOCKET"
  /// Milliseconds to wait for one that does not read.
  private static let patience: CInt = 1000

  /// Who is named in the environment; nil where nobody is. One that cannot be reached is logged.
  static var ofEnvironment: ServiceManager? {
    guard let place = getenv(variable).map({ String(cString: $0) }), !place.isEmpty else { return nil }
    do throws(Errno) {
      return try ServiceManager(place)
    } catch {
      let logger = Logger(label: "cowmount")
      logger.warning("cannot tell the service manager at \(variable)=\(place): \(error)")
      return nil
    }
  }

  /// - Parameter place: a path, or behind an at sign the name of an abstract socket.
  private init(_ place: String) throws(Errno) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var bytes = place.carriedBytes
    guard [UInt8(ascii: "/"), UInt8(ascii: "@")].contains(bytes.first), bytes.count > 1 else {
      throw .addressFamilyNotSupported
    }
    if bytes[0] == UInt8(ascii: "@") { bytes[0] = 0 }
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { throw .fileNameTooLong }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let descriptor = Glibc.socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor != -1 else { throw .current }
    socket = File(adopting: descriptor)
    // Of an abstract name, each byte counts; behind a path there is a NUL.
    let head = MemoryLayout.size(ofValue: address) - MemoryLayout.size(ofValue: address.sun_path)
    let size = socklen_t(head + bytes.count + (bytes[0] == 0 ? 0 : 1))
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
    }
    guard result == 0 else { throw .current }
  }

  /// Sends assignments. One that does not read them is not waited for: that must not keep a mount from ending.
  func tell(_ assignments: String...) {
    var wait = pollfd(fd: socket.descriptor, events: Int16(POLLOUT), revents: 0)
    guard poll(&wait, 1, Self.patience) == 1 else { return }
    // A line that says something, not two.
    let text = assignments.map { $0.replacing("\n", with: " ") + "\n" }.joined().carriedBytes
    send(socket.descriptor, text, text.count, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
  }
}
