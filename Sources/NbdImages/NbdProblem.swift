// Why an export cannot be used, in the words that the user reads.

internal import SystemPackage

/// An NBD server, or an export of it, that cannot be used.
public struct NbdImageError: Error, Equatable, CustomStringConvertible {
  /// The URI of the export.
  public let uri: String
  /// What is wrong.
  public let problem: NbdProblem

  /// Names the export with what is wrong with it.
  public init(uri: String, problem: NbdProblem) {
    self.uri = uri
    self.problem = problem
  }

  /// One line that names the export and the way out.
  public var description: String { "\(uri): \(problem)" }
}

/// What is wrong with an NBD server, an export or the way there.
public enum NbdProblem: Error, Equatable {
  /// libnbd is not installed, or too old; what the dynamic linker said.
  case noLibrary(String)
  /// The URI cannot be understood; why.
  case badURI(String)
  /// Nobody listens.
  case noServer(String)
  /// The server did not say anything for this long.
  case noAnswer(Duration)
  /// The server has no such export, but these; nil where it does not tell.
  case noExport(String, others: [String]?)
  /// The server wants TLS and was not asked for it.
  case wantsTLS
  /// The server was asked for TLS and hung up.
  case hasNoTLS
  /// There is no agreement on TLS; why.
  case tlsFailed(String)
  /// The export has no bytes.
  case empty
  /// The export is larger than a file can be.
  case tooLarge
  /// Anything else; what was said of it.
  case other(String)
}

extension NbdProblem: CustomStringConvertible {
  /// Something to say behind the URI.
  public var description: String {
    switch self {
    case .noLibrary(let reason):
      "reading from an NBD server needs libnbd 1.12 or newer; install the package libnbd0 (\(reason))"
    case .badURI(let reason): "this is no NBD URI that can be used: \(reason)"
    case .noServer(let reason): "cannot reach the NBD server (\(reason)); start it, or correct the URI"
    case .noAnswer(let time):
      "no NBD server answered within \(time.components.seconds) s; look after it, or correct the URI"
    case .noExport(let name, let others): "the server has no export '\(name)'; \(Self.advice(others))"
    case .wantsTLS: "the server wants TLS; write nbds: in place of nbd:"
    case .hasNoTLS: "the server hung up when asked for TLS; it has none, or does not trust you"
    case .tlsFailed(let reason): "the TLS handshake failed (\(reason)); look after certificates and keys"
    case .empty: "the export is empty, 0 bytes; give another"
    case .tooLarge: "the export is larger than a file can be"
    case .other(let text): "cannot use this NBD export: \(text)"
    }
  }

  private static func advice(_ others: [String]?) -> String {
    guard let others else { return "correct the URI" }
    if others.isEmpty { return "it has none at all" }
    return "it has " + others.map { "'\($0)'" }.joined(separator: ", ")
  }

  /// What became of a connection that could not be made.
  static func failed(_ failure: NbdFailure) -> NbdProblem {
    let message = failure.message
    if message.hasPrefix("getaddrinfo: ") { return .noServer(lastPart(message)) }
    if message.hasPrefix("connect: ") { return .noServer(lastPart(message)) }
    if failure.errno == .notSupported, message.contains("requires TLS") { return .wantsTLS }
    if message.hasPrefix("gnutls_") { return .tlsFailed(String(message.drop { $0 != " " }.dropFirst())) }
    return .other(message)
  }

  private static func lastPart(_ message: String) -> String {
    guard let colon = message.lastIndex(of: ":") else { return message }
    return String(message[colon...].dropFirst(2))
  }
}
