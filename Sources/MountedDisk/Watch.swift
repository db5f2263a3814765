// What is looked at every few seconds while a mount serves: whether the image changed under it, and how full the overlay
// is. Each thing is logged once when it comes and once when it goes. And what the mount did, when somebody asks, and at its
// end.

internal import CopyOnWrite
internal import Images
internal import Logging
internal import Synchronization

/// Keeps an eye on a mount.
struct Watch {
  let image: any Image
  let disk: CowDisk
  private let logger: Logger
  private let conditions: MountConditions
  private var knownChange: String?
  private var knownLevel = 0

  init(
    image: any Image, disk: CowDisk, logger: Logger = Logger(label: "cowmount"),
    conditions: MountConditions = MountConditions()
  ) {
    self.image = image
    self.disk = disk
    self.logger = logger
    self.conditions = conditions
  }

  mutating func look() {
    lookAtImage()
    lookAtSpace()
  }

  private mutating func lookAtImage() {
    let change = image.change()
    guard change != knownChange else { return }
    knownChange = change
    conditions.note(imageChange: change)
    if let change {
      logger.error("the image \(image.source) changed under the mount (\(change)): what is read from it may be wrong")
    }
  }

  private mutating func lookAtSpace() {
    guard let available = try? disk.availableSpace() else { return }
    let level = MountConditions.level(used: disk.allocatedBytes, available: available)
    defer { knownLevel = level }
    if level > knownLevel {
      logger.warning("the overlay has used \(level) % of its space, \(available) bytes are left")
    } else if level < knownLevel {
      logger.notice("the overlay uses less than \(knownLevel) % of its space again")
    }
  }
}

/// What is not as it should be, for who asks.
final class MountConditions: Sendable {
  private let knownImageChange = Mutex<String?>(nil)

  /// What is different about the image, in words, as of the last look.
  var imageChange: String? { knownImageChange.withLock { $0 } }

  func note(imageChange: String?) { knownImageChange.withLock { $0 = imageChange } }

  /// Percentages of the space for the overlay that are worth a warning.
  private static let levels = [80, 95]

  /// The highest of these that is reached; else 0.
  static func level(used: UInt64, available: UInt64) -> Int {
    guard used > 0 else { return 0 }
    let percent = 100 * Double(used) / (Double(used) + Double(available))
    return levels.last { percent >= Double($0) } ?? 0
  }
}

/// What the mount did so far.
struct MountStatistics {
  let image: any Image
  let disk: CowDisk

  /// Logs it.
  func tell(_ level: Logger.Level) {
    let statistics = disk.statistics
    Logger(label: "cowmount").log(
      level: level,
      """
      \(image.source) was read \(statistics.baseReads) times, \(statistics.baseBytes) bytes in all; the overlay holds \
      \(statistics.writtenBytes) bytes that were written and \(statistics.cachedBytes) bytes that were copied
      """)
  }
}
