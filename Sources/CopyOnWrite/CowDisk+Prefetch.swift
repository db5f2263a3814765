// Copying blocks before anybody reads them, a step at a time, for a thread that has nothing else to do.

internal import DiskIO
public import SystemPackage

extension CowDisk {
  /// What became of one step.
  public struct PrefetchStep: Equatable, Sendable {
    /// How it went.
    public enum Outcome: Equatable, Sendable {
      /// There was nothing to copy: a hole of the base, or blocks that the overlay has; or others were at it.
      case nothing
      /// The bytes were copied, as far as nobody wrote meanwhile.
      case copied
      /// The base could not be read.
      case baseFailed(Errno)
      /// The overlay could not take the copy; `.noSpace` where it would leave too little to writers.
      case overlayFailed(Errno)
    }

    /// How it went.
    public var outcome: Outcome
    /// The bytes that it is about. The next step begins where they end.
    public var range: Range<UInt64>
    /// Whether the base was asked for bytes.
    public var hasAskedBase: Bool
  }

  /// Takes the next step of copying what the base has into the overlay.
  ///
  /// - Parameters:
  ///   - offset: where to begin.
  ///   - buffer: memory for the bytes, at least a block's size. No step copies more.
  /// - Returns: nil where no more of the base can be seen from `offset` on.
  public func prefetch(from offset: UInt64, through buffer: UnsafeMutableRawBufferPointer) -> PrefetchStep? {
    precondition(UInt64(buffer.count) >= blockSize)
    let visible = visibleBase
    guard offset < visible else { return nil }
    let block = geometry.block(of: offset)
    let run = map.run(at: block, limit: geometry.blockCount(for: visible))
    guard run.state == .unallocated else { return step(.nothing, block..<run.end) }
    let (isData, end) = (try? baseRun(at: block, limit: run.end)) ?? (true, run.end)
    guard isData else { return step(.nothing, block..<end) }
    // What a frozen layer has is here already.
    let source = top.pointee.imageRun(at: geometry.start(of: block), limit: geometry.start(of: end))
    let sourceEnd = geometry.blockCount(for: source.end)
    guard source.isImage else { return step(.nothing, block..<sourceEnd) }
    let blocks = block..<min(sourceEnd, block + UInt64(buffer.count) >> geometry.blockShift)
    guard hasSpaceForCopies(of: blockSize) else { return step(.overlayFailed(.noSpace), blocks) }
    // Who was there before may not have copied them: look again.
    guard copies.begin(blocks, for: .prefetching) else { return step(.nothing, block..<block) }
    defer { copies.end(blocks, for: .prefetching) }
    return copyAhead(blocks, through: buffer)
  }

  private func copyAhead(_ blocks: Range<UInt64>, through buffer: UnsafeMutableRawBufferPointer) -> PrefetchStep {
    let range = geometry.bytes(of: blocks).clamped(to: 0..<visibleBase)
    let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
    guard !bytes.isEmpty else { return step(.nothing, blocks) }
    do throws(Errno) {
      try askBase(into: bytes, at: range.lowerBound)
    } catch {
      return step(.baseFailed(error), blocks, hasAskedBase: true)
    }
    do throws(Errno) {
      try store(UnsafeRawBufferPointer(bytes), copiedFrom: range)
    } catch {
      return step(.overlayFailed(error), blocks, hasAskedBase: true)
    }
    return step(.copied, blocks, hasAskedBase: true)
  }

  private func step(
    _ outcome: PrefetchStep.Outcome, _ blocks: Range<UInt64>, hasAskedBase: Bool = false
  ) -> PrefetchStep {
    PrefetchStep(outcome: outcome, range: geometry.bytes(of: blocks), hasAskedBase: hasAskedBase)
  }

  /// Bytes that copies may still take.
  public func spaceForCopies() throws(Errno) -> UInt64 {
    let unused = try unusedSpace()
    return unused - min(unused, spareSpace)
  }
}
