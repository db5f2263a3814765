// The things that are done, and what each must have done.

internal import Glibc
internal import SystemPackage

extension Owner {
  /// Each as often as it stands here.
  private enum Operation: CaseIterable {
    case read, write, directRead, directWrite, load, store, punch, zero, reserve, sync, drop, reopen, seek, status

    static let often: [Operation] =
      repeated(.read, 8) + repeated(.write, 14) + repeated(.directRead, 6) + repeated(.directWrite, 12)
      + repeated(.load, 4) + repeated(.store, 8) + repeated(.punch, 5) + repeated(.zero, 5) + repeated(.reserve, 1)
      + repeated(.sync, 2) + repeated(.drop, 5) + repeated(.seek, 4) + repeated(.reopen, 1) + repeated(.status, 1)

    private static func repeated(_ operation: Operation, _ count: Int) -> [Operation] {
      Array(repeating: operation, count: count)
    }
  }

  /// Does one thing.
  func operate() throws {
    let range = pickRange()
    let operation = random.pick(Operation.often)
    note("\(operation) \(range)")
    switch operation {
    case .read: try check(range, of: buffered, "read")
    case .directRead: try check(range, of: direct, "direct read")
    case .load: try load(range)
    case .write: try write(range, to: buffered, isDirect: false)
    case .directWrite: try write(range, to: direct, isDirect: configuration.usesDirect)
    case .store: try store(range)
    case .punch: try zero(range, .punch)
    case .zero: try zero(range, .zero)
    case .reserve: try reserve(range)
    case .sync: try sync()
    case .drop:
      try sync()
      buffered.dropCache(range)
    case .reopen: try reopen()
    case .seek: try seek(range)
    case .status: try expectSize()
    }
  }

  /// A range within one of its stretches, more often one of the first few than any other.
  private func pickRange() -> Range<Int> {
    let number = random.chance(0.5) ? random.below(min(8, shadow.count)) : random.below(shadow.count)
    let whole = shadow.range(of: number)
    switch random.below(10) {
    case 0, 1: return whole
    case 2:
      let byte = whole.lowerBound + random.below(whole.count)
      return byte..<byte + 1
    case 3, 4, 5:
      // Whole pages, where there are any.
      let first = (whole.lowerBound + 4095) / 4096
      let pages = max(0, whole.upperBound / 4096 - first)
      guard pages > 0 else { return whole }
      let start = first + random.below(pages)
      return start * 4096..<(start + 1 + random.below(first + pages - start)) * 4096
    default:
      let start = whole.lowerBound + random.below(whole.count)
      return start..<start + 1 + random.below(whole.upperBound - start)
    }
  }

  /// New bytes: mostly random ones, sometimes zeros, all through or in part.
  private func fillNew(_ count: Int) -> UnsafeMutableRawBufferPointer {
    let bytes = new.prefix(count)
    let kind = random.below(10)
    if kind >= 2 { Pattern.fill(bytes, at: random.below(4096), seed: random.next()) }
    if kind < 2 { bytes.initializeMemory(as: UInt8.self, repeating: 0) }
    if kind == 2 || kind == 3 {
      let start = random.below(count)
      let part = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + random.below(count - start + 1)])
      part.initializeMemory(as: UInt8.self, repeating: 0)
    }
    return bytes
  }

  /// Whether an error is one that a full overlay may give.
  private func isForWantOfSpace(_ error: Errno) -> Bool {
    configuration.mayFill && [.noSpace, .ioError].contains(error)
  }

  private func write(_ range: Range<Int>, to file: OpenFile, isDirect: Bool) throws {
    let bytes = fillNew(range.count)
    do {
      try file.write(UnsafeRawBufferPointer(bytes), at: range.lowerBound)
      if configuration.mayFill, !isDirect { try file.sync() }
      shadow.write(bytes, at: range.lowerBound)
    } catch {
      guard isForWantOfSpace(error) else { throw unexpected(error, in: "write", range) }
      note("  failed: \(error)")
      if isDirect { try expectOldOrNew(range, bytes) }
      shadow.doubt(range)
    }
  }

  /// What a write that failed has left of it must be whole bytes, old or new.
  private func expectOldOrNew(_ range: Range<Int>, _ bytes: UnsafeMutableRawBufferPointer) throws {
    let now = found.prefix(range.count)
    let count = try retryingLeftovers { () throws(Errno) in try direct.read(into: now, at: range.lowerBound) }
    guard count == range.count, shadow.isOneOf(now, bytes, at: range.lowerBound) else {
      throw failure(range, "after a write without space it is neither old nor new")
    }
  }

  private func load(_ range: Range<Int>) throws {
    let bytes = found.prefix(range.count)
    bytes.copyMemory(from: UnsafeRawBufferPointer(rebasing: mapping.bytes[range]))
    if let difference = shadow.difference(bytes, at: range.lowerBound) {
      throw failure(range, "\(difference) (load)")
    }
  }

  private func store(_ range: Range<Int>) throws {
    let bytes = fillNew(range.count)
    UnsafeMutableRawBufferPointer(rebasing: mapping.bytes[range]).copyMemory(from: UnsafeRawBufferPointer(bytes))
    do {
      if configuration.mayFill || random.chance(0.2) { try mapping.sync(range) }
      shadow.write(bytes, at: range.lowerBound)
    } catch {
      guard isForWantOfSpace(error) else { throw unexpected(error, in: "msync", range) }
      note("  failed: \(error)")
      shadow.doubt(range)
    }
  }

  private func zero(_ range: Range<Int>, _ kind: OpenFile.Allocation) throws {
    do {
      try buffered.allocate(kind, range, keepingSize: random.chance(0.5))
      shadow.zero(range)
    } catch {
      guard isForWantOfSpace(error) else { throw unexpected(error, in: "\(kind)", range) }
      note("  failed: \(error)")
      shadow.doubt(range)
    }
  }

  private func reserve(_ range: Range<Int>) throws {
    // Counts against no limit, and could take what others were told is there.
    guard !configuration.mayFill else { return }
    do { try buffered.allocate(.reserve, range) } catch { throw unexpected(error, in: "reserve", range) }
  }

  private func sync() throws {
    do { try buffered.sync(dataOnly: random.chance(0.5)) } catch {
      if !isForWantOfSpace(error) { throw unexpected(error, in: "fsync", 0..<0) }
    }
  }

  private func expectSize() throws {
    let size = try buffered.size
    if size != shadow.size { throw failure(0..<size, "the size is not \(shadow.size)") }
  }

  /// A hole must be one in what it owns; data may be anything.
  private func seek(_ range: Range<Int>) throws {
    let offset = range.lowerBound
    let stretch = shadow.range(of: offset / configuration.granule / configuration.owners)
    let (data, hole): (Int, Int)
    do {
      data = try retryingLeftovers { () throws(Errno) in try buffered.nextData(offset) } ?? shadow.size
      hole = try retryingLeftovers { () throws(Errno) in try buffered.nextHole(offset) }
    } catch {
      throw unexpected(error, in: "seek", range)
    }
    guard data >= offset, hole >= offset else { throw failure(range, "sought backwards: \(data), \(hole)") }
    let skipped = offset..<min(data, stretch.upperBound)
    if !skipped.isEmpty, !shadow.mayBeHole(skipped) {
      throw failure(skipped, "SEEK_DATA from \(offset) skipped data, to \(data)")
    }
    if hole < stretch.upperBound, !shadow.mayBeHole(hole..<hole + 1) {
      throw failure(hole..<hole + 1, "SEEK_HOLE from \(offset) found one in data")
    }
  }
}
