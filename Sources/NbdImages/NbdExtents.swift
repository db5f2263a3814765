// What a server said of data and holes (block status), kept so that it is asked once for each part of the image.

internal import CNbd
internal import CopyOnWrite
internal import Synchronization

/// Takes in the runs of one answer.
final class NbdExtentCollector {
  private let start: UInt64
  private let limit: UInt64
  private(set) var runs: [Extent] = []

  /// - Parameters:
  ///   - start: the byte that the server is asked for.
  ///   - limit: the size of the image.
  init(from start: UInt64, limit: UInt64) {
    self.start = start
    self.limit = limit
  }

  /// For libnbd, which calls it before the request is answered.
  var callback: nbd_extent_callback {
    nbd_extent_callback(
      callback: { collector, context, _, entries, count, _ in
        guard let collector, let context, let entries, String(cString: context) == NbdHandshake.allocation else {
          return 0
        }
        let pairs = UnsafeBufferPointer(start: entries, count: count - count % 2)
        Unmanaged<NbdExtentCollector>.fromOpaque(collector).takeUnretainedValue().take(pairs)
        return 0
      }, user_data: Unmanaged.passUnretained(self).toOpaque(), free: nil)
  }

  /// Takes lengths and flags by turns. Of the flags, ZERO alone says that the bytes are zeros; HOLE only that they take no
  /// space.
  func take(_ pairs: some RandomAccessCollection<UInt32>) {
    var numbers = pairs.makeIterator()
    var end = runs.last?.end ?? start
    while end < limit, let length = numbers.next(), let flags = numbers.next() {
      guard length > 0 else { return }
      end = min(limit, end + UInt64(length))
      let isData = flags & Self.zero == 0
      if runs.last?.isData == isData { runs.removeLast() }
      runs.append(Extent(isData: isData, end: end))
    }
  }

  /// NBD_STATE_ZERO
  private static let zero: UInt32 = 2
}

/// What is known of an image, from many answers: runs that do not overlap, in their order.
struct NbdExtentMap {
  private struct Run {
    let start: UInt64
    var end: UInt64
    let isData: Bool
  }

  private var runs: [Run] = []

  /// Most runs that are kept; who asks for more begins anew.
  static let capacity = 1 << 17

  /// Number of runs.
  var count: Int { runs.count }

  /// The run that has a byte, from there on.
  func extent(at offset: UInt64) -> Extent? {
    let index = index(of: offset)
    guard index < runs.count, runs[index].start <= offset else { return nil }
    return Extent(isData: runs[index].isData, end: runs[index].end)
  }

  /// The first run that ends beyond a byte.
  private func index(of offset: UInt64) -> Int {
    var (low, high) = (0, runs.count)
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].end <= offset { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Adds what is new in an answer for the bytes from `start` on.
  mutating func add(_ extents: [Extent], from start: UInt64) {
    if runs.count + extents.count > Self.capacity { runs = [] }
    var start = start
    for extent in extents {
      add(from: start, to: extent.end, isData: extent.isData)
      start = extent.end
    }
  }

  private mutating func add(from start: UInt64, to end: UInt64, isData: Bool) {
    var start = start
    while start < end {
      let next = index(of: start)
      // What is known stays as it is.
      if next < runs.count, runs[next].start <= start {
        start = runs[next].end
        continue
      }
      let stop = next < runs.count ? min(end, runs[next].start) : end
      insert(Run(start: start, end: stop, isData: isData), at: next)
      start = stop
    }
  }

  private mutating func insert(_ run: Run, at index: Int) {
    if index > 0, runs[index - 1].end == run.start, runs[index - 1].isData == run.isData {
      runs[index - 1].end = run.end
    } else {
      runs.insert(run, at: index)
    }
  }
}
