// What all layers of a disk share: the image under them, one limit on their space, and what is counted.

internal import Synchronization
internal import SystemPackage

/// Shared by a disk and by every layer of it.
final class LayerPool: Sendable {
  let image: any BaseReader
  let limit: SpaceLimit
  let counters = Counters()
  /// Runs of copies that were evicted so far, from any layer.
  let evictions = Atomic<UInt64>(0)
  private let frozen = Mutex<[Unowned]>([])

  /// A layer that takes itself off the list before it is gone.
  private struct Unowned {
    weak var layer: FrozenLayer?
    let id: ObjectIdentifier
  }

  init(image: any BaseReader, maxOverlay: UInt64?) {
    self.image = image
    limit = SpaceLimit(bytes: maxOverlay)
  }

  /// Reads from the image; every read of it comes through here.
  @inline(__always)
  func readImage(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    counters.countBaseRead(buffer.count)
    try image.read(into: buffer, at: offset)
  }

  // MARK: Frozen layers

  func add(_ layer: FrozenLayer) {
    frozen.withLock { $0.append(Unowned(layer: layer, id: ObjectIdentifier(layer))) }
  }

  func remove(_ layer: FrozenLayer) {
    let id = ObjectIdentifier(layer)
    frozen.withLock { $0.removeAll { $0.id == id } }
  }

  /// Every frozen layer, in the order of their freezing.
  var frozenLayers: [FrozenLayer] { frozen.withLock { $0.compactMap(\.layer) } }
}
