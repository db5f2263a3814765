// What is looked at every few seconds while a mount serves: whether the image changed under it, and how full the overlay
// is. Each thing is logged once when it comes and once when it goes. And what the mount did, when somebody asks, and at its
// end.

internal import CopyOnWrite
internal import Images
internal import Logging
internal import Threads

/// Keeps an eye on a mount.
struct Watch {
  let image: any Image
  let disk: CowDisk
  private let lane: DrainGate.Lane
  private let logger: Logger
  private var knownChange: String?
  private var knownLevel = 0

  init(image: any Image, disk: CowDisk, logger: Logger = Logger(label: "cowmount")) {
    self.image = image
    self.disk = disk
    lane = disk.requests.makeLane()
    self.logger = logger
  }

  /// Percentages of the space for the overlay that are worth a warning.
  private static let levels = [80, 95]

  mutating func look() {
    lookAtImage()
    lane.enter()
    lookAtSpace()
    lane.leave()
  }

  private mutating func lookAtImage() {
    let change = image.change()
    guard change != knownChange else { return }
    knownChange = change
    if let change {
      logger.error("the image \(image.source) changed under the mount (\(change)): what is read from it may be wrong")
    }
  }

  private mutating func lookAtSpace() {
    let used = disk.allocatedBytes
    guard let available = try? disk.availableSpace(), used > 0 else { return }
    let percent = 100 * Double(used) / (Double(used) + Double(available))
    let level = Self.levels.last { percent >= Double($0) } ?? 0
    defer { knownLevel = level }
    if level > knownLevel {
      logger.warning("the overlay has used \(level) % of its space, \(available) bytes are left")
    } else if level < knownLevel {
      logger.notice("the overlay uses less than \(knownLevel) % of its space again")
    }
  }
}

/// What the mount did so far.
struct MountStatistics {
  let image: any Image
  let disk: CowDisk
  private let lane: DrainGate.Lane

  init(image: any Image, disk: CowDisk) {
    self.image = image
    self.disk = disk
    lane = disk.requests.makeLane()
  }

  /// Logs it.
  func tell(_ level: Logger.Level) {
    let statistics = lane.pass { disk.statistics }
    Logger(label: "cowmount").log(
      level: level,
      """
      \(image.source) was read \(statistics.baseReads) times, \(statistics.baseBytes) bytes in all; the overlay holds \
      \(statistics.writtenBytes) bytes that were written and \(statistics.cachedBytes) bytes that were copied
      """)
  }
}
