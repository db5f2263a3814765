// The copy-on-write engine: a writable disk made of a read-only base and an overlay that holds what was written.
//
// States of a block (BlockMap has two bits for each)
//
//     state         its bytes are                                         what leads on
//     unallocated   the base's; zeros at and beyond the visible base      write → allocated; trim, zero → zero
//     allocated     the overlay's, all of the block                       trim, zero → zero
//     zero          zeros                                                 write → allocated
//     cached        those of an unallocated block, copied to the overlay  write → allocated; trim, zero → zero;
//                                                                         space is needed → unallocated
//     (with copy-on-read, reading makes unallocated blocks cached; shrinking the disk makes every block beyond its end
//     unallocated)
//
// Layers
//
// A disk is a stack: the top layer, which is written to, on layers that were frozen (checkpoints and what is left of deleted
// ones), on the base. Each layer has states of its own, and `unallocated` means: as the layer below has it. Above, "the base"
// is what lies below the top layer, whatever that is. A frozen layer reads like a base, so that nothing else in here knows of
// more than two. Checkpoints that were returned to make a tree of layers, of which the top lies on one branch.
//
// A cached block is not a change. Whoever asks what was written, or where data is, takes it for unallocated; who asks what
// takes space, for allocated.
//
// Invariants
//
//     O1  The base is never written: BaseReader has no way to.
//     O2  A block's overlay bytes are complete before `allocated` is published (release); readers load with acquire.
//     O3  A transition is made under the block's stripe lock, and the state is read again under it. That holds for whole
//         blocks too: a whole-block write that did not wait would be overwritten by an older copy-up that is about to
//         end.
//     O4  A write to allocated blocks goes in place, with no lock, and reads nothing.
//     O5  A first write fills the whole block and trusts nothing that the overlay file held before.
//     O6  Callers read within the disk; writing past the end grows it, and so do reserving and zeroing where they are asked
//         to. The size is exact to the byte. Only a cut takes any of it back: who grows the disk makes it at least as long
//         as that, and does so last, when nothing can fail any more.
//     O7  A failed operation leaves every state as it was, and what it set aside is given back: that, and nothing that was
//         set aside before. (A cached block counts as written from before the first byte is stored to it.)
//     O8  Trim and zero give space back, and the range reads as zeros when they return.
//     O9  Nothing here is made durable: the overlay does not outlive the process.
//     O10 What a frozen layer reads as never changes, though its blocks may move to a neighbour. One limit holds for the blocks
//         of all layers.
//
// Locks: first the resize gate (shared by transitions, exclusive for a change of size), then one stripe. Reads take
// neither; in-place writes take neither. Before both, who sets space aside or cuts the disk off takes `reserving`.
//
// Why each pair of verbs is right without more
//
//     read  | first write   The reader saw `unallocated` or `zero` and answers the old bytes, or `allocated` and sees
//                           complete new ones (O2). Either is an order of the two.
//     read  | in place      Both are copies of the same pages; bytes mix as on any disk when ranges overlap.
//     read  | trim          The reader saw `allocated` and finds the old bytes or, after the hole was punched, zeros. A trim
//                           that fails takes its state back: who read meanwhile saw zeros for a moment.
//     read  | shrink        The overlay file never becomes shorter and holes read as zeros, so a late reader touches
//                           nothing that is gone. The visible base is lowered before states are cleared, and readers
//                           load it after the state: a cleared block never shows base bytes that were cut off.
//     write | write         First writes of a block exclude each other (O3); the second finds `allocated`.
//     in place | trim       The writer stores without a lock while the block may lose its space. It looks at the states
//                           again afterwards: if any is no longer `allocated`, it writes once more under the lock. The
//                           trim sets the state before it punches the hole, so that no store in between goes unnoticed. A
//                           store that hits the hole on a full file system faults, is caught, and goes the same way.
//     in place | shrink     As with trim. Bytes that a late writer left behind the end are wiped when the disk grows.
//     trim  | first write   Both under the stripe lock.
//     trim  | shrink        A trim leaves out what is cut off, and never makes the disk grow.
//     trim  | grow          A last block that is whole because the disk ends in it is looked at again under the lock: if
//                           the disk has grown, only the bytes that were asked for become zeros.
//     size  | transitions   Excluded by the gate; a transition checks under the gate that its range still exists.
//     reserve | all others  Under the stripe lock, but not the gate: it may reach beyond the end. A cut waits for it, so that
//                           nothing is taken away there; a write that grows the disk does not.
//     copy  | all others    A read that copies asks the base without a lock, so nobody waits for a slow base. What it
//                           brings is stored under the lock, and only where the block is still unallocated and no less
//                           of the base can be seen: whoever wrote, trimmed or cut meanwhile has the last word.
//     copy  | copy          Who comes second waits until the first is done and finds the block cached: each is read once.
//                           Nobody waits for a prefetch, which may be slow on purpose; then both read, and who comes
//                           second finds nothing to store.
//     cached | write        The write takes the lock, because the block becomes allocated. No byte has to be copied up.
//     cached | evict        The space of a copy goes while readers may be about to use it. So a copy's own memory is never
//                           handed out: a reader copies from it, and then looks whether anything was evicted since before
//                           it saw `cached`. If so, it asks the base. The evicting thread counts between the state's
//                           change and the hole.
//
//     freeze, reset | all   These replace the top layer while nobody is inside `requests`, which waits for every request that
//                           is under way, up to the last use of its vectors, and lets none begin. So a store in place never
//                           lands in what is frozen, first writes and cuts are done or not begun, and mappings go when nobody
//                           points into them. The locks below are all free then.
//     merge | readers       Blocks are copied to where the layer above hides them, or above where they read as before. The
//                           originals go after `requests` was empty once more: who found them below has read them.
//     merge | first write   Moving a block up into the top layer is a first write, under the stripe lock, and only of a block
//                           that is unallocated still. Whoever wrote, trimmed or cut meanwhile has the last word.
//     merge | evict         States of frozen layers change under `evictionHand` alone.
//
// Tests hold each locked pair at a barrier inside a copy-up or a copy (Tests/CopyOnWriteTests).

public import DiskIO
internal import Synchronization
public import SystemPackage
public import Threads

/// A writable, throwaway view of a read-only base. Safe to use from any number of threads.
public final class CowDisk: @unchecked Sendable {
  // SAFETY: `top` lives from init to deinit; what it points to synchronises itself, and is replaced only while nobody is
  // inside `requests`. Everything else is Sendable.
  let geometry: Geometry
  /// What was written since the disk was last frozen, or ever. It is replaced only while ``requests`` is drained.
  let top: UnsafeMutablePointer<Layer>
  let pool: LayerPool
  let stripes: StripeLocks
  let gate = ResizeGate()
  let options: Options
  /// Blocks that space is set aside for, in the state `allocated`. See CowDisk+Reserve.swift.
  let reserved: BlockMap
  /// Held while space is set aside or the disk is cut off. Taken before the gate.
  let reserving = Mutex<Void>(())

  /// Whoever calls the disk from one of several threads does so inside this gate, and stays there until vectors that it was
  /// given are no longer used. (Who changes layers drains it, and is not inside.)
  public let requests = DrainGate()

  /// Whether reads may copy; constant, so that without it reading costs no more than this look.
  let copiesReads: Bool
  let copies = CopiesUnderWay()
  /// For the thread that merges layers.
  let mergeLane: DrainGate.Lane
  /// As the first layer was made, so are the others.
  let access: StoreAccess
  let pageSize: Int
  /// Space that copies leave to writers, and that eviction makes at a time.
  let spareSpace: UInt64
  /// The block at which the next eviction begins to look. Taken before the gate.
  let evictionHand = Mutex<UInt64>(0)

  private let sizeInBytes: Atomic<UInt64>

  /// What a user may choose.
  public struct Options: Sendable {
    /// Most bytes that blocks in the overlay may take; a first write beyond it is `.noSpace`. Nil for no limit.
    public var maxOverlay: UInt64?
    /// Whether blocks that a write fills with zeros are kept as zero blocks, without space.
    public var detectZeroes: Bool
    /// Whether blocks that are read from the base are copied to the overlay.
    public var copyOnRead: CopyOnRead

    /// Creates options.
    public init(maxOverlay: UInt64? = nil, detectZeroes: Bool = false, copyOnRead: CopyOnRead = .never) {
      self.maxOverlay = maxOverlay
      self.detectZeroes = detectZeroes
      self.copyOnRead = copyOnRead
    }
  }

  /// When reading copies.
  public enum CopyOnRead: Sendable {
    case never, always
    /// As long as the closure says so. It is asked by each read that needs the base, on the reading thread.
    case asLongAs(@Sendable () -> Bool)
  }

  /// Puts an overlay over `base`.
  ///
  /// - Parameters:
  ///   - base: the image. It must not change while the disk lives.
  ///   - blockSize: the unit of copy-on-write in bytes, one that ``Geometry`` takes.
  ///   - scratch: an empty file of its own for what is written (``DiskIO/File/scratch(in:)``).
  ///   - options: limits and habits.
  /// - Throws: `.fileTooLarge` where the scratch file's file system cannot hold a file of the disk's size, or no process
  ///   could map its blocks; `.noMemory` where a limit leaves the address space no room for the block map; what the file system says to a first block.
  public convenience init(
    base: any BaseReader, geometry: Geometry, scratch: consuming File, options: Options = Options()
  ) throws(Errno) {
    try self.init(base: base, geometry: geometry, scratch: scratch, options: options, access: .mapped)
  }

  /// As the public one, with less of the file system used, or as on a kernel with other pages.
  init(
    base: any BaseReader, geometry: Geometry, scratch: consuming File, options: Options = Options(),
    access: StoreAccess,
    pageSize: Int = LazyMemory.pageSize
  ) throws(Errno) {
    let size = base.size
    guard size <= geometry.largestDisk else { throw .fileTooLarge }
    self.options = options
    copiesReads = if case .never = options.copyOnRead { false } else { true }
    self.geometry = geometry
    self.access = access
    self.pageSize = pageSize
    sizeInBytes = Atomic(size)
    mergeLane = requests.makeLane()
    stripes = StripeLocks(geometry)
    reserved = try Self.makeMap(for: size, geometry, pageSize: pageSize)
    try reserved.makeAccessible(geometry.blockCount(for: size))
    pool = LayerPool(image: base, maxOverlay: options.maxOverlay)
    let layer = try Self.makeLayer(
      over: nil, pool, size: size, scratch, geometry: geometry, access: access, pageSize: pageSize)
    spareSpace = Self.spareSpace(of: min(options.maxOverlay ?? .max, try layer.store.totalSpace()))
    top = .allocate(capacity: 1)
    top.initialize(to: layer)
  }

  deinit {
    top.deinitialize(count: 1)
    top.deallocate()
  }

  /// An empty layer with room for a disk of `size` bytes.
  static func makeLayer(
    over below: FrozenLayer?, _ pool: LayerPool, size: UInt64, _ scratch: consuming File, geometry: Geometry,
    access: StoreAccess, pageSize: Int
  ) throws(Errno) -> Layer {
    let map = try makeMap(for: size, geometry, pageSize: pageSize)
    let store = try OverlayStore(
      scratch, blockSize: geometry.blockSize, needed: geometry.roundedUp(size),
      wanted: max(2 * geometry.roundedUp(size), roomToGrow), access: access, pageSize: pageSize)
    let layer = Layer(geometry, map: map, store: store, pool: pool, over: below)
    try layer.makeRoom(for: size)
    return layer
  }

  /// Addresses are cheap: a disk may grow to twice its size, and at least to this many bytes, at full speed.
  static let roomToGrow: UInt64 = 1 << 40
  /// Largest disk that the block map reserves addresses for (4 GiB of them at 4 KiB blocks) where there is room.
  private static let largestDisk: UInt64 = 64 << 40

  private static func makeMap(
    for size: UInt64, _ geometry: Geometry, pageSize: Int
  ) throws(Errno) -> BlockMap {
    let needed = geometry.blockCount(for: size)
    do {
      return try BlockMap(capacity: max(2 * needed, geometry.blockCount(for: largestDisk)), pageSize: pageSize)
    } catch {
      // Beyond this no process has the addresses, whatever its limits.
      guard size <= largestDisk else { throw .fileTooLarge }
      // A limit on the address space (ulimit -v): a disk that cannot grow much is better than none.
      return try BlockMap(capacity: needed, pageSize: pageSize)
    }
  }

  /// The disk's size in bytes.
  public var size: UInt64 { sizeInBytes.load(ordering: .acquiring) }

  /// The states of blocks, as the top layer has them.
  @inline(__always)
  var map: BlockMap { @inline(__always) _read { yield top.pointee.map } }

  /// The bytes of the top layer.
  @inline(__always)
  var store: OverlayStore { @inline(__always) _read { yield top.pointee.store } }

  @inline(__always)
  var limit: SpaceLimit { @inline(__always) _read { yield pool.limit } }

  /// Bytes below the top layer that can be seen: all of them, or less since the disk was cut off below that.
  var visibleBase: UInt64 { top.pointee.visibleBelow.load(ordering: .acquiring) }

  /// Publishes a new size. Only under the exclusive gate.
  func publish(size: UInt64) {
    sizeInBytes.store(size, ordering: .releasing)
  }

  /// Hides the base from `limit` on. Only under the exclusive gate.
  func hideBase(from limit: UInt64) {
    if limit < visibleBase { top.pointee.visibleBelow.store(limit, ordering: .releasing) }
  }

  /// The unit of copy-on-write in bytes.
  public var blockSize: UInt64 { geometry.blockSize }

  /// Bytes of blocks that were written and can be seen now, checkpoints below included.
  public var allocatedBytes: UInt64 { top.pointee.writtenBytes }

  /// Bytes of blocks that the overlay holds a copy of and that nobody wrote, in all layers.
  public var cachedBytes: UInt64 {
    var blocks = map.cachedCount.load(ordering: .relaxed)
    for frozen in pool.frozenLayers { blocks += frozen.layer.pointee.map.cachedCount.load(ordering: .relaxed) }
    return blocks << geometry.blockShift
  }

  /// Bytes that the overlay takes on its file system, in all layers and reservations included.
  public func usedSpace() throws(Errno) -> UInt64 {
    var used = try store.usedSpace()
    for frozen in pool.frozenLayers { used += try frozen.layer.pointee.store.usedSpace() }
    return used
  }

  /// Bytes that can still be written to blocks that are not allocated: what the limit and the overlay's file system
  /// leave, whichever is less, and what copies of the base take, since they make way.
  public func availableSpace() throws(Errno) -> UInt64 {
    try unusedSpace().addingSaturated(cachedBytes)
  }

  /// Reads bytes below the top layer that can be seen.
  @inline(__always)
  func askBase(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    try top.pointee.readVisible(into: buffer, at: offset)
  }

  /// Bytes that nothing takes yet.
  func unusedSpace() throws(Errno) -> UInt64 { min(limit.left, try store.availableSpace()) }
}

extension UInt64 {
  /// The sum, or the most that there is: space is endless where nobody says how much there is.
  func addingSaturated(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
