// --prefetch: a thread copies what the image has into the overlay, from its beginning to its end, while the mount serves.
//
// It keeps out of the way. Whenever somebody else asked the image, it pauses until nobody did for a moment, but not for
// ever: a mount that is busy all day is prefetched, too. Its priority is the lowest for the processor as well as for disks.

internal import CLinux
internal import CopyOnWrite
internal import Glibc
internal import Images
internal import Logging
internal import Synchronization
internal import SystemPackage
internal import Threads

/// The copying of an image in the background.
final class Prefetch: Sendable {
  private let disk: CowDisk
  private let lane: DrainGate.Lane
  private let image: any Image
  private let logger = Logger(label: "cowmount")
  private let isStopping = Atomic(false)
  private let isOver = Atomic(false)

  /// Most bytes that are asked of the image at once.
  private static let chunk: UInt64 = 1 << 20
  /// How long the image is left alone after somebody else's read.
  private static let politeness = Duration.milliseconds(20)
  /// How long it is left alone at most, however many reads come.
  private static let patience = Duration.seconds(1)
  /// How long the end of a mount waits for what is being copied.
  private static let farewell = Duration.seconds(2)

  /// Starts the thread. A mount without it is worth having, so failing is no more than a line in the log.
  init(_ disk: CowDisk, of image: any Image) {
    self.disk = disk
    lane = disk.requests.makeLane()
    self.image = image
    do {
      pthread_detach(
        try startThread { [self] in
          run()
          isOver.store(true, ordering: .releasing)
        })
    } catch {
      isOver.store(true, ordering: .releasing)
      logger.warning("nothing is prefetched: \(error)")
    }
  }

  /// Ends it, where it has not ended by itself. A read of an image that does not answer is not waited for.
  func stop() {
    isStopping.store(true, ordering: .relaxed)
    let end = ContinuousClock.now + Self.farewell
    while !isOver.load(ordering: .acquiring), ContinuousClock.now < end { Self.pause(.milliseconds(2)) }
  }

  private static func pause(_ time: Duration) {
    usleep(UInt32(time / .microseconds(1)))
  }

  // MARK: The thread

  private func run() {
    clinux_enter_background("prefetch")
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Int(max(Self.chunk, disk.blockSize)), alignment: 4096)
    defer { buffer.deallocate() }
    var work = Work(size: disk.size)
    var others = otherReads(than: work.reads)
    while !isStopping.load(ordering: .relaxed),
      let step = lane.pass({ disk.prefetch(from: work.position, through: buffer) })
    {
      // What is lost for now is not given up: the same place is tried again.
      if case .baseFailed = step.outcome, image.isAway {
        waitForReturn()
        continue
      }
      let wasHole = step.outcome == .nothing
      if let error = work.take(step, tell: tell) {
        tellEnd(at: step.range.lowerBound, error)
        return
      }
      if !wasHole { giveWay(to: &others, own: work.reads) }
    }
    work.end(tell: tell)
    guard !isStopping.load(ordering: .relaxed) else { return }
    logger.notice("prefetch is done: \(work.copied) bytes were copied, \(work.missing) could not be read")
  }

  private func waitForReturn() {
    while image.isAway, !isStopping.load(ordering: .relaxed) { Self.pause(Self.politeness) }
  }

  private func tell(_ news: Work.News) {
    switch news {
    case .progress(let percent): logger.notice("prefetch: \(percent) % of \(image.source)")
    case .unreadable(let range, let error):
      logger.warning(
        "prefetch: bytes \(range.lowerBound) to \(range.upperBound - 1) of \(image.source) cannot be read: \(error)")
    }
  }

  private func tellEnd(at place: UInt64, _ error: Errno) {
    logger.warning(
      "prefetch ended at byte \(place): the overlay takes no more (\(error)); the rest stays in \(image.source)")
  }

  private func otherReads(than own: UInt64) -> UInt64 { lane.pass { disk.statistics }.baseReads &- own }

  /// Waits while others ask the image.
  private func giveWay(to others: inout UInt64, own: UInt64) {
    let end = ContinuousClock.now + Self.patience
    while !isStopping.load(ordering: .relaxed), ContinuousClock.now < end {
      let now = otherReads(than: own)
      if now == others { return }
      others = now
      Self.pause(Self.politeness)
    }
  }
}

/// How far it is, and what is worth telling.
private struct Work {
  enum News {
    case progress(UInt64)
    case unreadable(Range<UInt64>, Errno)
  }

  private let size: UInt64
  private(set) var position: UInt64 = 0
  private(set) var reads: UInt64 = 0
  private(set) var copied: UInt64 = 0
  private(set) var missing: UInt64 = 0
  private var toldPercent: UInt64 = 0
  /// What could not be read and was not told yet: neighbours are told together.
  private var unreadable: (range: Range<UInt64>, error: Errno)?

  init(size: UInt64) {
    self.size = size
  }

  /// Takes account of a step.
  ///
  /// - Returns: why there can be no other.
  mutating func take(_ step: CowDisk.PrefetchStep, tell: (News) -> Void) -> Errno? {
    position = step.range.upperBound
    let bytes = min(position, size) - min(step.range.lowerBound, size)
    if step.hasAskedBase { reads += 1 }
    switch step.outcome {
    case .nothing: break
    case .copied: copied += bytes
    case .baseFailed(let error):
      missing += bytes
      if let before = unreadable, before.range.upperBound == step.range.lowerBound, before.error == error {
        unreadable = (before.range.lowerBound..<min(position, size), error)
      } else {
        end(tell: tell)
        unreadable = (step.range.clamped(to: 0..<size), error)
      }
      return nil
    case .overlayFailed(let error): return error
    }
    if !step.range.isEmpty { end(tell: tell) }
    let percent = size == 0 ? 100 : UInt64(10 * (Double(min(position, size)) / Double(size))) * 10
    if percent > toldPercent {
      toldPercent = percent
      tell(.progress(percent))
    }
    return nil
  }

  /// Tells what was not told yet.
  mutating func end(tell: (News) -> Void) {
    if let unreadable { tell(.unreadable(unreadable.range, unreadable.error)) }
    unreadable = nil
  }
}
