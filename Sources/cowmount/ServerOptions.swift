// The image behind a URI: on an NBD server.

internal import ArgumentParser
internal import DiskIO
internal import Glibc
internal import NbdImages

struct ServerOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "How long to wait for a server: for one that is lost to come back, before reads fail. (default: 30)",
      valueName: "seconds"))
  var reconnect = 30

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Most connections to the server. (default: up to 8 where it allows more than one)", valueName: "n"))
  var connections: Int?

  /// Checks what the options are.
  func validate() throws {
    guard (0...86400).contains(reconnect) else {
      throw ValidationError("--reconnect \(reconnect) must be from 0 to 86400 seconds")
    }
    if let connections, !(1...64).contains(connections) {
      throw ValidationError("--connections \(connections) must be from 1 to 64")
    }
  }

  /// Shortest time after which a server that is there and does not answer counts as lost: some are slow.
  private static let leastSilence = 10
  /// With --reconnect 0 readers do not want to wait for what is lost; that says nothing of what is slow.
  private static let usualPatience = 30

  /// How to be a server's client.
  var client: NbdImage.Options {
    var options = NbdImage.Options()
    options.connections = connections
    options.reconnect = .seconds(reconnect)
    let patience = reconnect == 0 ? Self.usualPatience : reconnect
    options.handshake = .seconds(patience)
    options.silence = .seconds(max(patience, Self.leastSilence))
    return options
  }

  /// Says what is wrong where a URI of another kind, or one of ours, was meant. A file can have such a name.
  static func refuseOtherSchemes(_ image: String) throws(ServerError) {
    guard image.contains(":"), image.withCarriedCString({ access($0, F_OK) }) == -1 else { return }
    if let parts = image.wholeMatch(of: /(nbds?):\/?([^\/].*)/) { throw .oldURI(image, "\(parts.1)://\(parts.2)") }
    guard let end = image.firstRange(of: "://") else { return }
    let scheme = image[..<end.lowerBound]
    guard scheme.wholeMatch(of: /[A-Za-z][A-Za-z0-9+.-]*/) != nil else { return }
    throw .scheme(image, String(scheme))
  }
}

/// An image on a server that cannot be opened for what the user wrote.
enum ServerError: Error, CustomStringConvertible {
  /// A URI of something else.
  case scheme(String, String)
  /// An NBD server as QEMU wrote it before there were URIs, and the URI.
  case oldURI(String, String)
  /// A format is asked for.
  case otherFormat(String)

  /// One line that names the image and the way out.
  var description: String {
    switch self {
    case .scheme(let image, let scheme):
      """
      \(image): images cannot be read by \(scheme):; give a path or an NBD URI (nbd://host/export), behind which nbdkit \
      serves many other sources
      """
    case .oldURI(let image, let uri):
      "\(image): there is no such image; an NBD server's export is written as a URI: \(uri), with /NAME where it has one"
    case .otherFormat(let uri):
      "\(uri): what a server shows is taken for raw; let the server decompress or convert it, or pass --format raw"
    }
  }
}
