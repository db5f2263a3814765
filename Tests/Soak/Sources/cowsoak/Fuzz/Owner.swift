// One thread of a fuzzing process: does whatever a user of a disk image may do, to bytes that are its own.

internal import Glibc
internal import SystemPackage

final class Owner {
  let configuration: Configuration
  let index: Int
  let control: Control
  let path: String
  /// Whether the server may be killed any time: then errors are what must come, and end it.
  let expectsDeath: Bool
  let shadow: Shadow
  var random: Randomness
  var history: [String] = []
  private(set) var buffered: OpenFile
  private(set) var direct: OpenFile
  private(set) var mapping: Mapping
  let found: Buffer
  let new: Buffer
  private var pausesSeen: UInt64 = 0

  init(_ configuration: Configuration, index: Int, control: Control, path: String, expectsDeath: Bool) throws {
    self.configuration = configuration
    self.index = index
    self.control = control
    self.path = path
    self.expectsDeath = expectsDeath
    shadow = Shadow(configuration, owner: index)
    random = Randomness(seed: Randomness.derive(configuration.seed, UInt64(index)))
    found = Buffer(count: configuration.granule)
    new = Buffer(count: configuration.granule)
    buffered = try OpenFile(path)
    direct = try Self.openDirect(path, configuration)
    mapping = try Mapping(buffered, count: configuration.size)
  }

  private static func openDirect(_ path: String, _ configuration: Configuration) throws(Errno) -> OpenFile {
    try OpenFile(path, configuration.usesDirect ? O_RDWR | OpenFile.directFlag : O_RDWR)
  }

  func reopen() throws {
    buffered = try OpenFile(path)
    direct = try Self.openDirect(path, configuration)
    mapping = try Mapping(buffered, count: max(1, shadow.size))
  }

  /// Works until everybody is to stop, then looks over all that it owns.
  func run() throws {
    while !control.isStopping {
      try pauseIfWanted()
      guard shadow.count > 0 else {
        try idle()
        continue
      }
      try operate()
      control.count(owner: index)
    }
    if !expectsDeath { try verify() }
  }

  /// Owns nothing, and waits; but it notices when the server is gone.
  private func idle() throws {
    usleep(1000)
    var space = statvfs()
    try Errno.check(fstatvfs(buffered.descriptor, &space))
  }

  private func pauseIfWanted() throws {
    let wanted = control.pausesWanted
    guard wanted != pausesSeen else { return }
    control.waitForPause(wanted)
    pausesSeen = wanted
    if control.size != shadow.size || control.cutTo < shadow.size {
      note("resized from \(shadow.size) by way of \(control.cutTo) to \(control.size)")
      shadow.resize(cutTo: control.cutTo, size: control.size)
      try reopen()
    }
  }

  /// Looks at all that it owns, through the kernel's cache and past it.
  private func verify() throws {
    do { try buffered.sync() } catch {
      // What was not made safe before the space ran out.
      if !configuration.mayFill { throw error }
    }
    for file in configuration.usesDirect ? [buffered, direct] : [buffered] {
      for number in 0..<shadow.count { try check(shadow.range(of: number), of: file, "at the end") }
    }
  }

  // MARK: Looking

  /// Reads a range and compares it.
  func check(_ range: Range<Int>, of file: OpenFile, _ how: String) throws {
    let buffer = found.prefix(range.count)
    let count: Int
    do {
      count = try retryingLeftovers { () throws(Errno) in try file.read(into: buffer, at: range.lowerBound) }
    } catch {
      throw unexpected(error, in: how, range)
    }
    guard count == range.count else { throw failure(range, "only \(count) bytes read (\(how))") }
    if let difference = shadow.difference(buffer, at: range.lowerBound) {
      throw failure(range, "\(difference) (\(how))")
    }
  }

  /// Where space may run out, the kernel tells of pages of others that it could not write, once.
  func retryingLeftovers<Result>(_ call: () throws(Errno) -> Result) throws(Errno) -> Result {
    guard configuration.mayFill else { return try call() }
    for _ in 0..<1000 {
      do { return try call() } catch .noSpace { continue } catch .ioError { continue }
    }
    return try call()
  }

  /// An error that should not have come, unless the server is gone.
  func unexpected(_ error: Errno, in verb: String, _ range: Range<Int>) -> any Error {
    expectsDeath ? error : failure(range, "\(verb): \(error)")
  }

  func failure(_ range: Range<Int>, _ what: String) -> Failure {
    let name = "owner \(index), bytes \(range.lowerBound)..<\(range.upperBound)"
    return Failure("\(name): \(what)\n  last operations:\n    " + history.suffix(60).joined(separator: "\n    "))
  }

  /// Remembers what was done, for the message of a failure.
  func note(_ what: @autoclosure () -> String) {
    if history.count >= 4000 { history.removeFirst(2000) }
    history.append(what())
  }
}
