// Holes and space: fallocate, seek, statfs.

import CLinux
import CopyOnWrite
import DiskIO
import FuseSession
import Synchronization
import SystemPackage

extension ImageFileSystem {
  // MARK: fallocate

  /// The modes that are served; each may come with or without KEEP_SIZE but for punching, which needs it.
  private enum Allocation {
    case reserve, zero
  }

  func serveAllocate(
    _ request: consuming Request, inode: UInt64, mode: CInt, offset: UInt64, count: UInt64
  ) {
    guard inode == fileInode else { return request.fail(.isDirectory) }
    // Only the kernel is meant. See beginForgetting().
    if isForgetting.load(ordering: .acquiring), mode == clinux_falloc_keep_size | clinux_falloc_punch_hole, offset == 0
    {
      return request.succeed()
    }
    let keepsSize = mode & clinux_falloc_keep_size != 0
    let kind: Allocation
    switch mode & ~clinux_falloc_keep_size {
    case 0: kind = .reserve
    case clinux_falloc_punch_hole where keepsSize, clinux_falloc_zero_range: kind = .zero
    default: return request.fail(.notSupported)
    }
    let (end, overflow) = offset.addingReportingOverflow(count)
    guard !overflow, end <= UInt64(Int64.max) else { return request.fail(.fileTooLarge) }
    do {
      try allocate(kind, offset..<end, growing: !keepsSize)
      request.succeed()
    } catch {
      problems.report("fallocate of \(count) bytes at \(offset)", error)
      request.fail(error)
    }
  }

  private func allocate(_ kind: Allocation, _ range: Range<UInt64>, growing: Bool) throws(Errno) {
    switch kind {
    case .reserve: try disk.reserve(range, growing: growing)
    case .zero: try disk.zero(range, growing: growing)
    }
  }

  // MARK: Seeking

  /// With the writeback cache the kernel may hold dirty pages over what is a hole here, and it does not write them back
  /// before it asks. So before a hole is reported, or skipped, while somebody has the file open for writing, the kernel is
  /// made to; if the answer changes, it is looked at once more.
  func serveSeek(_ request: consuming Request, inode: UInt64, offset: UInt64, whence: CInt) {
    let seeksData = whence == clinux_seek_data
    guard seeksData || whence == clinux_seek_hole else { return request.fail(.invalidArgument) }
    guard inode == fileInode else {
      guard let entry = checkpoints.find(inode: inode) else { return request.fail(.isDirectory) }
      return serveSeek(request, in: entry.checkpoint, offset: offset, seeksData: seeksData)
    }
    do {
      guard let position = try settledPosition(data: seeksData, from: offset) else {
        return request.fail(.noSuchAddressOrDevice)
      }
      request.reply(offset: position)
    } catch {
      problems.report("seek from \(offset)", error)
      request.fail(error)
    }
  }

  /// Where a seek ends, nothing that the kernel holds left out; nil where there is no such place.
  private func settledPosition(data seeksData: Bool, from offset: UInt64) throws(Errno) -> UInt64? {
    var found = try find(data: seeksData, from: offset)
    guard let cache = kernelCache else { return found.position }
    // Bounded, for a writer may go on filling holes for ever.
    for _ in 0..<64 where cache.mayHoldWrites {
      let hole = found.hole
      guard hole.lowerBound < hole.upperBound else { break }
      guard cache.writeBack(from: hole.lowerBound, to: hole.upperBound) else {
        // Calling a hole data is allowed, the other way round is not.
        let size = disk.size
        return offset >= size ? nil : seeksData ? offset : size
      }
      let again = try find(data: seeksData, from: offset)
      if again == found { break }
      found = again
    }
    return found.position
  }

  /// Where a seek ends, and the hole that it skipped or found.
  private struct Found: Equatable {
    /// Nil where there is none.
    let position: UInt64?
    let hole: Range<UInt64>
  }

  private func find(data seeksData: Bool, from offset: UInt64) throws(Errno) -> Found {
    let size = disk.size
    guard offset < size else { return Found(position: nil, hole: offset..<UInt64.max) }
    let first = try disk.extent(at: offset)
    let endOfFirst = first.end < size ? first.end : UInt64.max
    if seeksData {
      if first.isData { return Found(position: offset, hole: offset..<offset) }
      return Found(position: first.end < size ? first.end : nil, hole: offset..<endOfFirst)
    }
    if !first.isData { return Found(position: offset, hole: offset..<endOfFirst) }
    guard first.end < size else { return Found(position: size, hole: size..<UInt64.max) }
    let hole = try disk.extent(at: first.end)
    return Found(position: first.end, hole: first.end..<(hole.end < size ? hole.end : UInt64.max))
  }

  // MARK: statfs

  /// Sizes of the disk, and what can still be written: total is the disk, used is what the overlay holds, available is
  /// what the overlay's file system has, but never more than the disk could take.
  func serveStatistics(_ request: consuming Request) {
    do {
      let total = disk.size / FileSystemStatistics.unit
      let free = total - min(total, disk.allocatedBytes / FileSystemStatistics.unit)
      let space = try disk.availableSpace() / FileSystemStatistics.unit
      request.reply(statistics: FileSystemStatistics(total: total, free: free, available: min(free, space)))
    } catch {
      request.fail(error)
    }
  }
}
