// From changes, which begin and end at any byte, to what is written to the saved file: whole clusters, each once. So nothing
// of what lies below has to be read to complete one.

internal import MountControl

/// What becomes of some clusters.
struct ClusterRun: Equatable {
  /// Which bytes; whole clusters, but for the end of the disk.
  var bytes: Range<UInt64>
  /// Whether all of them are zeros; else they are read from the disk.
  var isZero: Bool
}

/// Clusters that a saved file must have.
struct ClusterRuns {
  private let clusterSize: UInt64
  /// Bytes of the disk.
  private let size: UInt64
  /// Where zeros that are not saved are zeros all the same: nothing lies below from there on.
  private let zeroEnd: UInt64
  /// Everything before is done.
  private var done: UInt64 = 0

  /// - Parameters:
  ///   - clusterSize: a power of two.
  ///   - size: bytes of the disk.
  ///   - backed: how many of them something lies below.
  init(clusterSize: UInt64, size: UInt64, backed: UInt64) {
    self.clusterSize = clusterSize
    self.size = size
    zeroEnd = Self.roundUp(backed, clusterSize)
  }

  /// Takes the next change, which begins where the last one did or behind that, and gives what is to be done for it.
  mutating func add(_ change: DiskChange) -> [ClusterRun] {
    let (start, end) = (change.bytes.lowerBound, min(change.bytes.upperBound, size))
    guard start < end else { return [] }
    let outer = start / clusterSize * clusterSize..<min(Self.roundUp(end, clusterSize), size)
    guard change.kind == .zeroed else { return [run(outer, isZero: false)].compactMap { $0 } }
    // Behind the end of the disk there is nothing that had to stay.
    let innerEnd = end == size ? size : end / clusterSize * clusterSize
    let innerStart = Self.roundUp(start, clusterSize)
    guard innerStart < innerEnd else { return [run(outer, isZero: false)].compactMap { $0 } }
    return [
      run(outer.lowerBound..<innerStart, isZero: false), run(innerStart..<innerEnd, isZero: true),
      run(innerEnd..<outer.upperBound, isZero: false),
    ].compactMap { $0 }
  }

  private mutating func run(_ bytes: Range<UInt64>, isZero: Bool) -> ClusterRun? {
    let start = max(bytes.lowerBound, done)
    let end = isZero ? min(bytes.upperBound, zeroEnd) : bytes.upperBound
    done = max(done, bytes.upperBound)
    return start < end ? ClusterRun(bytes: start..<end, isZero: isZero) : nil
  }

  static func roundUp(_ number: UInt64, _ step: UInt64) -> UInt64 {
    let (sum, overflow) = number.addingReportingOverflow(step - 1)
    return overflow ? .max / step * step : sum / step * step
  }
}
