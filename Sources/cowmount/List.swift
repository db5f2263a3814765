// cowmount list: all mounts that the caller can see.

internal import ArgumentParser
internal import DiskIO
internal import MountControl
internal import MountedDisk

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the mounts.",
    usage: "cowmount list [--json]",
    discussion: "A mount that is dead or does not answer is listed with what is wrong.")

  @Flag(name: .long, help: "Print JSON.")
  var json = false

  func run() throws {
    let mounts = try MountSurvey.mounts()
    if json {
      print(JSON.array(mounts.map(\.json)).text)
    } else {
      let head = ["MOUNTPOINT", "IMAGE", "SIZE", "WRITTEN", "LIMIT", "OVERLAY", "AGE", "PID", "STATE", "USED BY"]
      for line in TextTable.lines(head, mounts.map(\.cells), rightAligned: [2, 3, 4, 7]) { print(line) }
    }
  }
}

extension SurveyedMount {
  fileprivate var cells: [String] {
    let places = mountpoints.map(\.carrier).joined(separator: ", ")
    let users = users.isEmpty ? "-" : users.map(\.words).joined(separator: ", ")
    switch answer {
    case .success(let status):
      let overlay = status.overlay
      return [
        places, status.base.shown, humanSize(status.size), humanSize(overlay.written),
        overlay.limit.map(humanSize) ?? "-", overlay.directory ?? "memory", humanTime(status.age),
        "\(status.process)", status.warnings.first ?? "ok", users,
      ]
    case .failure(let failure):
      return [places, source] + Array(repeating: "-", count: 6) + [failure.words, users]
    }
  }

  fileprivate var json: JSON {
    let status = try? answer.get()
    let failure: JSON = if case .failure(let failure) = answer { .string(failure.words) } else { .null }
    func number(_ value: UInt64?) -> JSON { value.map { .number($0) } ?? .null }
    return .object([
      ("mountpoints", .array(mountpoints.map { .string($0.carrier) })),
      ("image", .string(status?.base.source ?? source)),
      ("offset", number(status?.base.part?.lowerBound)),
      ("length", number(status?.base.part.map { $0.upperBound - $0.lowerBound })),
      ("partition", number(status?.base.partition.map { UInt64($0) })),
      ("size", number(status?.size)),
      ("written", number(status?.overlay.written)),
      ("limit", number(status?.overlay.limit)),
      ("overlay", status?.overlay.directory.map { .string($0) } ?? .null),
      ("age", number(status?.age)),
      ("pid", number(status.map { UInt64($0.process) })),
      ("failure", failure),
      ("warnings", .array((status?.warnings ?? []).map { .string($0) })),
      ("users", .array(users.map(\.json))),
    ])
  }
}

extension MountUser {
  /// For programs.
  var json: JSON {
    switch self {
    case .loop(let loop, let mountpoints):
      .object([
        ("loop", .string("\(loop.node)")), ("mountpoints", .array(mountpoints.map { .string($0.carrier) })),
        ("holders", .array(loop.holders.map { .string("/dev/\($0)") })),
      ])
    case .process(let id, let name): .object([("pid", .number(UInt64(id))), ("name", .string(name))])
    }
  }
}
