// Compressed images: what all formats have in common. Each format is fuzzed in two ways: with bytes as they come, where
// opening and reading ends in an error or in bytes, the same each time and the same as by another way; and with a file that
// was made here, of content and in a manner that the input says, which must come out as it went in, or, where bytes of
// the file were changed, not at all.

internal import CopyOnWrite
internal import DiskIO
internal import Glibc
internal import SystemPackage

@testable import CompressedImages
@testable import Images

/// No file here needs more, and no lie gets more.
private let largest: UInt64 = 1 << 20

/// Where the file is that is opened: each input overwrites the one before.
private let place: String = {
  let directory = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
  var template = Array("\(directory)/cowfuzz.XXXXXX".utf8CString)
  let descriptor = mkstemp(&template)
  require(descriptor >= 0, "no file can be made in \(directory)")
  close(descriptor)
  return template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
}()

/// A file with these bytes, opened as an image.
func image(of bytes: [UInt8]) -> RawImage {
  let file = Glibc.open(place, O_WRONLY | O_CLOEXEC)
  // Where a file is emptied first, ext4 writes to the disk when it is closed.
  require(pwrite(file, bytes, bytes.count, 0) == bytes.count, "\(place) cannot be written")
  ftruncate(file, bytes.count)
  close(file)
  do { return try RawImage(path: FilePath(place)) } catch { fatalError("\(error)") }
}

/// Opens a file block by block; nil where that is refused, in one line.
func open(_ file: RawImage, as format: ImageFormat) -> CompressedImage? {
  var options = CompressionOptions()
  options.maxBlock = largest
  options.isForced = true
  do { return try format.open(file, options: options) as? CompressedImage } catch {
    require(!error.description.contains("\n"), error.description)
    return nil
  }
}

/// What a stream from the file's beginning to its end gives; nil where it fails.
private func decompressed(_ file: RawImage, as format: ImageFormat) -> [UInt8]? {
  switch format {
  case .xz:
    guard let stream = try? XzStream(file) else { return nil }
    return content(of: stream, file)
  case .zstd:
    guard let stream = try? ZstdStream(file, 0..<file.size) else { return nil }
    return content(of: stream, file)
  case .gzip:
    guard let stream = try? GzipStream(file) else { return nil }
    return content(of: stream, file)
  case .raw: return nil
  }
}

private func content(of stream: consuming some ByteStream & ~Copyable, _ file: RawImage) -> [UInt8]? {
  guard let scratch = try? File.scratchInMemory() else { return nil }
  let image = try? DecompressedImage(file, name: nil, &stream, into: scratch, limit: largest) { _ in }
  return image.flatMap { $0.size <= largest ? bytes(of: $0, 0..<$0.size) : nil }
}

/// Bytes of an image; nil where they cannot be read.
func bytes(of image: any Image, _ range: Range<UInt64>) -> [UInt8]? {
  var bytes = [UInt8](repeating: 0xDE, count: range.count)
  let result: Void? = bytes.withUnsafeMutableBytes { try? image.read(into: $0, at: range.lowerBound) }
  return result == nil ? nil : bytes
}

/// A file is refused, or reads at both ends and in the middle fail or give the same each time and by each way.
func expectSound(_ file: RawImage, as format: ImageFormat) {
  guard let image = open(file, as: format) else { return }
  _ = image.summary
  let size = image.size
  for start in Set([0, size / 3, size > 5000 ? size - 5000 : 0]) where start < size {
    let range = start..<min(size, start + 5000)
    let (first, second) = (bytes(of: image, range), bytes(of: image, range))
    require(first == second, "bytes \(range) of \(size) are not the same twice")
  }
  guard size <= largest, let whole = bytes(of: image, 0..<size) else { return }
  // By blocks or as a whole: where both ways work, they lead to the same bytes.
  if let other = decompressed(file, as: format) {
    require(whole == other, "\(whole.count) bytes by blocks are not the \(other.count) bytes of the stream")
  }
}

/// Changes to bytes of a file, as an input says.
///
/// - Returns: whether anything is different.
func damage(_ file: inout [UInt8], _ input: inout Input) -> Bool {
  let original = file
  while !input.isEmpty, !file.isEmpty {
    let place = Int(input.number(2)) % file.count
    file[place] ^= input.byte()
  }
  return file != original
}

/// A file that was made of `content` is that, unless it was damaged: then it is that or an error, where `isVerified`.
func expect(_ content: [UInt8], in image: CompressedImage?, isDamaged: Bool, isVerified: Bool = true) {
  // No file at all is refused.
  if !isDamaged, !content.isEmpty || image != nil {
    require(image?.size == UInt64(content.count), "\(content.count) bytes are \(image?.size ?? 0)")
  }
  guard let image, image.size == UInt64(content.count) else { return }
  let found = bytes(of: image, 0..<image.size)
  if isDamaged, !isVerified || found == nil { return }
  require(found == content, "other bytes")
}

/// The first bytes of a file, and its name: a format is found by its mark only, and a name only gets shorter.
func fuzzProbe(_ input: inout Input) {
  let head = input.bytes(8)
  let name = input.text()
  guard let format = try? ImageFormat.detect(in: image(of: head)) else { fatalError("\(head) cannot be read") }
  let magic = head.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
  let expected: ImageFormat =
    switch (magic, UInt32(truncatingIfNeeded: magic)) {
    case (_, 0xFD2F_B528), (_, 0x184D_2A50...0x184D_2A5F): .zstd
    case _ where magic & 0xFFFF_FFFF_FFFF == 0x005A_587A_37FD && head.count >= 6: .xz
    case _ where magic & 0xFF_FFFF == 0x08_8B1F: .gzip
    default: .raw
    }
  require(format == expected, "\(head) is \(format)")
  for format in ImageFormat.allCases {
    let inside = format.nameInside(name)
    require(name.utf8.starts(with: inside.utf8) && inside.isEmpty == name.isEmpty, "'\(name)' has '\(inside)' inside")
    if format.isArchive(name) { require(format != .raw && !name.isEmpty, "'\(name)' is an archive") }
  }
}
