// Reading what is to be saved from the exposed file, piece by piece, and handing it on.

internal import DiskIO
internal import Glibc
internal import MountControl
internal import SystemPackage

/// A disk on its way into a saved file.
struct DiskCopy {
  private let state: SavedState
  private let diskSize: UInt64
  private let backing: Backing?
  private let clusterSize: UInt64
  private let progress: (UInt64, UInt64) -> Void
  /// Bytes of the disk.
  private var size: UInt64 { state.size }
  private var done: UInt64 = 0
  private var all: UInt64 = 0

  /// Bytes that are read at once: at least a cluster.
  private var pieceSize: UInt64 { max(clusterSize, 1 << 20) }

  /// - Parameters:
  ///   - state: what is copied.
  ///   - diskSize: bytes of the saved disk while it is written, less than a cluster more.
  ///   - backing: what lies below; then only changes are saved.
  init(
    _ state: SavedState, diskSize: UInt64, backing: Backing?, clusterSize: UInt64,
    progress: @escaping (UInt64, UInt64) -> Void
  ) {
    self.state = state
    self.diskSize = diskSize
    self.backing = backing
    self.clusterSize = clusterSize
    self.progress = progress
  }

  /// Copies all that the saved file must have.
  mutating func copy(to target: any SaveTarget) throws(SaveError) {
    // Counted first: a look at the block map costs next to nothing beside the bytes.
    try forEachRun { (self, run) throws(SaveError) in
      self.all += run.isZero ? 0 : run.bytes.upperBound - run.bytes.lowerBound
    }
    progress(0, all)
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(pieceSize), alignment: 4096)
    defer { piece.deallocate() }
    try forEachRun { (self, run) throws(SaveError) in
      if run.isZero { try target.zero(run.bytes) } else { try self.copy(run.bytes, by: piece, to: target) }
    }
    progress(all, all)
  }

  // MARK: What is copied

  private mutating func forEachRun(_ body: (inout DiskCopy, ClusterRun) throws(SaveError) -> Void) throws(SaveError) {
    var runs = ClusterRuns(clusterSize: clusterSize, size: diskSize, backed: backing?.size ?? 0)
    var edges = edges[...]
    try forEachChange { (self, change) throws(SaveError) in
      while let edge = edges.first, edge.bytes.lowerBound < change.bytes.lowerBound {
        edges.removeFirst()
        for run in runs.add(edge) { try body(&self, run) }
      }
      for run in runs.add(change) { try body(&self, run) }
    }
    for edge in edges { for run in runs.add(edge) { try body(&self, run) } }
  }

  /// What differs from what lies below though nobody has written it: less than a sector each.
  private var edges: [DiskChange] {
    guard let backing else { return [] }
    var edges: [DiskChange] = []
    // What the backing file does not show of a part that ends within a sector.
    let end = min(ClusterRuns.roundUp(backing.size + 1, Backing.sectorSize), size)
    if backing.size < end { edges.append(DiskChange(backing.size..<end, .written)) }
    // What it shows behind the end of a disk that does.
    if size < diskSize, backing.size > size { edges.append(DiskChange(size - 1..<size, .written)) }
    return edges
  }

  private mutating func forEachChange(_ body: (inout DiskCopy, DiskChange) throws(SaveError) -> Void) throws(SaveError)
  {
    guard backing == nil else {
      var changes = state.changes
      while let change = try Self.next(&changes) { try body(&self, change) }
      return
    }
    var offset: UInt64 = 0
    while let data = try state.data(from: offset) {
      try body(&self, DiskChange(data, .written))
      offset = data.upperBound
    }
  }

  private static func next(_ changes: inout MountChanges) throws(SaveError) -> DiskChange? {
    do { return try changes.next() } catch { throw .mount(error) }
  }

  // MARK: Copying

  private mutating func copy(
    _ bytes: Range<UInt64>, by piece: UnsafeMutableRawBufferPointer, to target: any SaveTarget
  ) throws(SaveError) {
    var offset = bytes.lowerBound
    while offset < bytes.upperBound {
      // Pieces end where clusters do.
      let end = min(bytes.upperBound, (offset / pieceSize + 1) * pieceSize)
      let part = UnsafeMutableRawBufferPointer(rebasing: piece[..<Int(end - offset)])
      try read(part, at: offset)
      try hand(UnsafeRawBufferPointer(part), at: offset, to: target)
      done += end - offset
      progress(done, all)
      offset = end
    }
  }

  /// Reads bytes; behind the end of the disk they are zeros.
  private func read(_ part: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(SaveError) {
    let count = min(part.count, Int(clamping: size - min(size, offset)))
    try state.read(into: UnsafeMutableRawBufferPointer(rebasing: part[..<count]), at: offset)
    for index in count..<part.count { part[index] = 0 }
  }

  /// Hands on stretches of clusters that are all zeros, or not.
  private func hand(_ part: UnsafeRawBufferPointer, at offset: UInt64, to target: any SaveTarget) throws(SaveError) {
    var start = 0
    while start < part.count {
      let isZero = isZero(part, clusterAt: start)
      var end = start
      repeat {
        end = min(part.count, end + Int(clusterSize))
      } while end < part.count && self.isZero(part, clusterAt: end) == isZero
      let place = offset + UInt64(start)
      if !isZero {
        try target.write(UnsafeRawBufferPointer(rebasing: part[start..<end]), at: place)
      } else if let backing, place < backing.size {
        try target.zero(place..<offset + UInt64(end))
      }
      start = end
    }
  }

  private func isZero(_ part: UnsafeRawBufferPointer, clusterAt start: Int) -> Bool {
    let cluster = UnsafeRawBufferPointer(rebasing: part[start..<min(part.count, start + Int(clusterSize))])
    guard let first = cluster.baseAddress, cluster.first == 0 else { return false }
    // SAFETY: both stretches lie within the cluster.
    return memcmp(first, first + 1, cluster.count - 1) == 0
  }
}
