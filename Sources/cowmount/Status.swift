// cowmount status: all about one mount.

internal import ArgumentParser
internal import DiskIO
internal import MountControl
internal import MountedDisk

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tell all about a mount.",
    usage: "cowmount status [--json] <mountpoint>",
    discussion: "Who may read the file may ask. It costs the mount next to nothing.")

  @OptionGroup
  var target: MountArgument

  @Flag(name: .long, help: "Print JSON.")
  var json = false

  func run() throws {
    let client = try target.open(for: .looking)
    let status = try client.status()
    let file = client.filePath?.carrier ?? target.mount
    if json {
      let place: [(String, JSON)] = [("mountpoint", .string(client.mountpoint.carrier)), ("file", .string(file))]
      print(JSON.object(place + status.json).text)
    } else {
      for line in Self.lines(status, file) { print(line.printable) }
    }
  }

  private static func lines(_ status: MountStatus, _ file: String) -> [String] {
    let base = status.base
    let overlay = status.overlay
    let requests = status.requests.filter { $0.count > 0 }.map { requests in
      requests.bytes > 0
        ? "\(requests.verb) \(requests.count) (\(humanSize(requests.bytes)))" : "\(requests.verb) \(requests.count)"
    }
    var lines = [
      "\(file): \(size(status.size))\(status.isReadOnly ? ", read-only" : "")",
      "  base      \(base.shown), \(base.format), \(size(base.size)); \(base.lock.words)",
      "            read \(base.reads) times, \(size(base.readBytes))",
      "  overlay   \(size(overlay.written)) written, \(humanSize(overlay.copied)) copied of the base, in blocks of "
        + humanSize(overlay.blockSize),
      "            \(humanSize(overlay.used)) used, \(humanSize(overlay.left)) left, \(overlay.limitWords), "
        + overlay.place,
      "  requests  \(requests.isEmpty ? "none" : requests.joined(separator: ", "))",
      "  errors    \(status.errors)\(status.lastError.map { "; one of the last: \($0)" } ?? "")",
    ]
    lines += status.warnings.map { "  warning   \($0)" }
    return lines + ["  process   \(status.process), \(status.threads) threads, for \(humanTime(status.age))"]
  }

  private static func size(_ bytes: UInt64) -> String { "\(bytes) bytes (\(humanSize(bytes)))" }
}

extension MountStatus {
  /// Members for programs.
  var json: [(String, JSON)] {
    [
      ("pid", .number(UInt64(process))),
      ("age", .number(age)),
      ("size", .number(size)),
      ("readOnly", .bool(isReadOnly)),
      ("threads", .number(UInt64(threads))),
      ("base", base.json),
      ("overlay", overlay.json),
      (
        "requests",
        .object(
          requests.map { requests in
            (requests.verb.rawName, .object([("count", .number(requests.count)), ("bytes", .number(requests.bytes))]))
          })
      ),
      ("errors", .number(errors)),
      ("lastError", lastError.map { .string($0) } ?? .null),
      ("warnings", .array(warnings.map { .string($0) })),
    ]
  }
}

extension MountStatus.Requests.Verb {
  /// For programs.
  fileprivate var rawName: String { "\(self)" }
}

extension MountStatus.Base {
  /// The image with its part.
  var shown: String {
    if let partition { return "\(source) partition \(partition)" }
    guard let part else { return source }
    return "\(source) bytes \(part.lowerBound) to \(part.upperBound)"
  }

  var json: JSON {
    .object([
      ("image", .string(source)),
      ("format", .string(format)),
      ("size", .number(size)),
      ("offset", .number(part?.lowerBound ?? 0)),
      ("length", .number(part.map { $0.upperBound - $0.lowerBound } ?? size)),
      ("partition", partition.map { .number(UInt64($0)) } ?? .null),
      ("lock", .string("\(lock)")),
      ("reads", .number(reads)),
      ("bytesRead", .number(readBytes)),
    ])
  }
}

extension MountStatus.Base.Lock {
  fileprivate var words: String {
    switch self {
    case .held: "locked against writers"
    case .shared: "others may write to it (--force-share)"
    case .unavailable: "its file system has no locks"
    case .server: "a server has it"
    }
  }
}

extension MountStatus.Overlay {
  var place: String { directory.map { "in \($0)" } ?? "in memory" }

  fileprivate var limitWords: String { limit.map { "limit \(humanSize($0))" } ?? "no limit" }

  var json: JSON {
    .object([
      ("directory", directory.map { .string($0) } ?? .null),
      ("blockSize", .number(blockSize)),
      ("written", .number(written)),
      ("copied", .number(copied)),
      ("used", .number(used)),
      ("limit", limit.map { .number($0) } ?? .null),
      ("left", .number(left)),
    ])
  }
}

/// A time for people: its two largest units.
func humanTime(_ seconds: UInt64) -> String {
  let parts = [(seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")]
  let shown = parts.drop { $0.0 == 0 }.prefix(2).filter { $0.0 > 0 }
  return shown.isEmpty ? "0 s" : shown.map { "\($0.0) \($0.1)" }.joined(separator: " ")
}
