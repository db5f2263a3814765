// Opening a file in a compressed format as an image.

internal import Glibc
internal import SystemPackage

extension ImageFormat {
  /// Makes an image of a file in this format, which must be a compressed one.
  ///
  /// - Throws: ``CompressedImageError`` that names the file and what is wrong with it.
  public func open(_ file: RawImage, options: CompressionOptions) throws(CompressedImageError) -> CompressedImage {
    do throws(CompressedImageError.Problem) {
      return try openNamed(file, options)
    } catch {
      throw CompressedImageError(path: file.source, format: self, problem: error)
    }
  }

  private func openNamed(
    _ file: RawImage, _ options: CompressionOptions
  ) throws(CompressedImageError.Problem) -> CompressedImage {
    guard file.size > 0 else { throw .empty }
    if !options.isForced, let name = file.name, isArchive(name) { throw .archive }
    let blocks: any BlockSource =
      switch self {
      case .xz: try XzBlocks(file)
      case .raw, .zstd, .gzip: throw .otherFormat
      }
    let table = blocks.blocks
    guard table.largest <= options.maxBlock else { throw .blockTooLarge(table.largest, limit: options.maxBlock) }
    if !options.isForced, Self.startsAsArchive(blocks) { throw .archive }
    let cache = BlockCache(
      maxBlocks: options.maxDepth, maxBytes: Self.memory(for: table, depth: options.maxDepth))
    return CompressedImage(
      file, name: file.name.map(nameInside), blocks: blocks, cache: cache, options: options)
  }

  /// Most bytes of decompressed blocks: those of so many blocks, but no more than a quarter of the machine's memory.
  private static func memory(for table: BlockTable, depth: Int) -> UInt64 {
    let (all, overflow) = table.largest.multipliedReportingOverflow(by: UInt64(depth))
    let machine = UInt64(max(0, sysconf(CInt(_SC_PHYS_PAGES)))) * UInt64(max(0, sysconf(CInt(_SC_PAGESIZE))))
    return max(table.largest, overflow ? machine / 4 : min(all, machine / 4))
  }

  /// A first block that cannot be read is damaged, and no archive.
  private static func startsAsArchive(_ source: any BlockSource) -> Bool {
    guard source.blocks.count > 0 else { return false }
    let first = source.blocks[0]
    let start = UnsafeMutableRawBufferPointer.allocate(byteCount: 512, alignment: 16)
    defer { start.deallocate() }
    let part = UnsafeMutableRawBufferPointer(rebasing: start[..<Int(min(512, first.count))])
    guard (try? source.decompress(first, into: part)) != nil else { return false }
    return isArchive(startingWith: UnsafeRawBufferPointer(part))
  }
}
