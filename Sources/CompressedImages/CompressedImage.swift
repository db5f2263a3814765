// An image in a compressed file that is made of blocks which can be decompressed one by one. What blocks there are and how
// to decompress one is the format's (BlockSource); names, the cache, and what becomes of damage are the same for all.
//
// The file is opened as a raw image, which locks it and watches it for changes. Bytes are handed out only after their
// whole block was decompressed and its integrity check passed. A block that is damaged fails with EIO, and only it.

public import CopyOnWrite
public import DiskIO
internal import Glibc
public import Images
internal import Synchronization
public import SystemPackage

/// The blocks of a file in one compressed format.
protocol BlockSource: Sendable {
  /// Where they are.
  var blocks: BlockTable { get }

  /// What the user should know of the file: lines of text that each say something after its name.
  var remarks: [String] { get }

  /// Decompresses a block from its beginning on and verifies it. Called from many threads at once.
  ///
  /// - Parameter buffer: what to fill, at most the block's size. Where it is less, there is nothing to verify.
  func decompress(_ block: BlockTable.Block, into buffer: UnsafeMutableRawBufferPointer) throws(BlockError)
}

extension BlockSource {
  var remarks: [String] { [] }
}

/// Why a block cannot be had.
enum BlockError: Error, Equatable {
  /// The file has other bytes there than were once written.
  case damaged
  /// A system call failed, which it may not do the next time.
  case failed(Errno)
}

/// An image that is decompressed block by block where it is read.
public final class CompressedImage: Image {
  private let file: RawImage
  private let blocks: any BlockSource
  private let table: BlockTable
  let cache: BlockCache
  private let report: @Sendable (String) -> Void
  /// Blocks that were found damaged: they are so the next time, too, and need not be decompressed to know it.
  private let damaged = Mutex<Set<Int>>([])

  /// The name of the file without the format's suffix.
  public let name: String?

  /// Takes over an opened file and its blocks.
  init(
    _ file: RawImage, name: String?, blocks: any BlockSource, cache: BlockCache,
    report: @escaping @Sendable (String) -> Void
  ) {
    self.file = file
    self.name = name
    self.blocks = blocks
    self.cache = cache
    table = blocks.blocks
    self.report = report
    for remark in blocks.remarks { report("\(file.source) \(remark)") }
  }

  /// How many blocks there are and how large the largest is, in words.
  public var summary: String {
    table.count == 1 ? "one block of \(size) bytes" : "\(table.count) blocks of up to \(table.largest) bytes"
  }

  /// Bytes of the image, decompressed.
  public var size: UInt64 { table.size }

  /// Absolute path of the compressed file.
  public var source: String { file.source }

  /// The compressed file's owner, permissions and times.
  public var status: FileStatus { file.status }

  /// The compressed file's.
  public var access: ImageAccess { file.access }

  /// None: blocks are kept in memory, and few of them.
  public var scratchBytes: UInt64 { 0 }

  /// What is different about the compressed file.
  public func change() -> String? { file.change() }

  /// The file's.
  public var isRemote: Bool { file.isRemote }

  /// The file's.
  public var isAway: Bool { file.isAway }

  /// Told to the file.
  public func prepareToEnd() { file.prepareToEnd() }

  /// All is data, as far as is known.
  public var dataSectors: UInt64 { (size + 511) / 512 }

  /// Where zeros are is not known before they are decompressed: all is data.
  public func extent(at offset: UInt64) -> Extent { Extent(isData: true, end: size) }

  /// Reads bytes, each from a block that was decompressed and verified.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    guard UInt64(buffer.count) <= size, offset <= size - UInt64(buffer.count) else { throw .ioError }
    var done = 0
    while done < buffer.count {
      let position = offset + UInt64(done)
      let block = table.block(at: position)
      let inBlock = position - block.start
      let count = Int(min(UInt64(buffer.count - done), block.count - inBlock))
      try cache.read(
        block: block.number, count: block.count, from: inBlock,
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
      ) { (memory) throws(Errno) in try decompress(block, into: memory) }
      done += count
    }
  }

  private func decompress(_ block: BlockTable.Block, into memory: UnsafeMutableRawBufferPointer) throws(Errno) {
    if damaged.withLock({ $0.contains(block.number) }) { throw .ioError }
    do throws(BlockError) {
      try blocks.decompress(block, into: memory)
    } catch {
      switch error {
      case .failed(let error): throw error
      case .damaged:
        tellDamage(of: block)
        throw .ioError
      }
    }
  }

  /// Called once for each damaged block, since the cache lets one thread at a time decompress it.
  private func tellDamage(of block: BlockTable.Block) {
    _ = damaged.withLock { $0.insert(block.number) }
    report(
      """
      \(source) is damaged: its block \(block.number), bytes \(block.start) to \(block.start + block.count - 1) of the \
      image, cannot be decompressed; reading there is an I/O error
      """)
  }
}
