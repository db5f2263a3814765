// What a mount tells of itself to who asks.

internal import CompressedImages
internal import CopyOnWrite
internal import FuseSession
internal import Glibc
internal import ImageFS
internal import Images
internal import MountControl
internal import SystemPackage
internal import Threads
internal import VirtualDisks

/// What is known of a mount while it is served.
struct MountReport: Sendable {
  let settings: MountSettings
  let overlay: Overlay
  let limit: UInt64?
  /// The image, of which `image` may show a part.
  let whole: any Image
  let format: SourceFormat
  let lock: MountStatus.Base.Lock
  let image: any Image
  let disk: CowDisk
  let fileSystem: ImageFileSystem
  let counts: RequestCounts
  let conditions: MountConditions
  let beginning = Moment.now

  /// What it is and what it did.
  var status: MountStatus {
    let failures = fileSystem.failures
    return MountStatus(
      process: UInt32(clamping: getppid()), age: beginning.secondsSince, size: disk.size,
      isReadOnly: settings.isReadOnly, threads: UInt32(clamping: counts.threads), base: base, overlay: overlayStatus,
      requests: RequestKind.allCases.map { kind in
        let sum = counts.sum(of: kind)
        return MountStatus.Requests(MountStatus.Requests.Verb(kind), count: sum.requests, bytes: sum.bytes)
      }, errors: failures.count, lastError: failures.last, warnings: warnings)
  }

  private var base: MountStatus.Base {
    let statistics = disk.statistics
    return MountStatus.Base(
      source: image.source, format: "\(format)", size: whole.size, part: (image as? Window)?.part,
      partition: settings.window.partition.map { UInt32(clamping: $0) }, lock: lock, reads: statistics.baseReads,
      readBytes: statistics.baseBytes)
  }

  private var overlayStatus: MountStatus.Overlay {
    let directory: String? = if case .directory(let directory) = overlay { directory.path.string } else { nil }
    return MountStatus.Overlay(
      directory: directory, blockSize: disk.blockSize, written: disk.allocatedBytes, copied: disk.cachedBytes,
      used: (try? disk.usedSpace()) ?? 0, limit: limit, left: (try? disk.availableSpace()) ?? 0)
  }

  private var warnings: [String] {
    var warnings: [String] = []
    if let change = conditions.imageChange { warnings.append("the image changed under the mount (\(change))") }
    if image.isAway { warnings.append("the server of the image is gone: nothing can be read from it") }
    let level = MountConditions.level(used: disk.allocatedBytes, available: (try? disk.availableSpace()) ?? 0)
    if level > 0 { warnings.append("the overlay has used \(level) % of its space") }
    return warnings
  }

  /// Runs of blocks that are looked at for one answer: few enough that others need not wait for long.
  private static let effort = 1 << 16

  /// What differs from the base from a place on, as much as an answer has room for.
  func changes(from offset: UInt64) -> ChangePage {
    var page = ChangePage([], next: offset)
    var effort = Self.effort
    while let position = page.next, page.changes.count < ChangePage.limit, effort > 0 {
      switch disk.nextChange(from: position, effort: effort) {
      case .change(let change):
        page.changes.append(DiskChange(change.bytes, change.isZeroed ? .zeroed : .written))
        page.next = change.bytes.upperBound
        effort -= 1
      case .noneBefore(let next):
        page.next = next
        effort = 0
      case .none: page.next = nil
      }
    }
    return page
  }
}

extension MountStatus.Requests.Verb {
  init(_ kind: RequestKind) {
    self =
      switch kind {
      case .read: .read
      case .write: .write
      case .allocate: .allocate
      case .seek: .seek
      case .attributes: .attributes
      case .control: .control
      case .other: .other
      }
  }
}

extension SourceFormat: CustomStringConvertible {
  /// As users write it.
  public var description: String {
    switch self {
    case .file(let format): format.rawValue
    case .disk(let format): format.rawValue
    }
  }
}

extension HeldSource {
  /// How others are kept from changing the image.
  func lock(_ settings: SourceSettings) -> MountStatus.Base.Lock {
    let isLocked: Bool? =
      switch self {
      case .file(let file): file.isLocked
      case .started(let server): server.isLocked
      case .server, .handedOver: nil
      }
    guard let isLocked else { return .server }
    return settings.sharesWithWriters ? .shared : isLocked ? .held : .unavailable
  }
}
