// What is looked at in the header of a virtual disk before qemu-nbd gets it: whether it names other files, and whether the
// file is whole. QEMU takes what is missing at the end of most formats for zeros.
//
// Whoever may write to a raw disk, such as a virtual machine, can make it look like one of these formats, so nothing here
// trusts a number: all reads are within the file and of bounded size.

internal import CopyOnWrite
internal import DiskIO
internal import Images
internal import SystemPackage

/// A virtual disk's header, as far as it matters here.
struct VirtualDiskHeader: Equatable {
  /// A file that is read along with the image.
  struct Reference: Equatable {
    /// What the other file is to this one, as a noun with its article.
    let kind: String
    /// Its name as the header has it; empty where there is none to show.
    let name: String
  }

  /// Bytes of the disk.
  let size: UInt64
  /// The first other file that the header asks for; nil where it asks for none.
  var reference: Reference?
  /// States of the disk that are kept besides the current one.
  var snapshots: UInt32 = 0

  /// Reads the header of an image.
  ///
  /// - Throws: why the image cannot be used, in whatever way it is opened.
  init(of image: any BaseReader, as format: VirtualDiskFormat) throws(VirtualDiskFault) {
    let reader = HeaderReader(image)
    switch format {
    case .qcow2: self = try QcowHeader.read(reader)
    case .vmdk: self = try VmdkHeader.read(reader)
    case .vhdx: self = try VhdxHeader.read(reader)
    case .vdi: self = try VdiHeader.read(reader)
    case .vpc: self = try VpcHeader.read(reader)
    }
  }

  init(size: UInt64, reference: Reference? = nil, snapshots: UInt32 = 0) {
    self.size = size
    self.reference = reference
    self.snapshots = snapshots
  }
}

/// What is wrong with a virtual disk.
enum VirtualDiskFault: Error, Equatable {
  /// The file does not begin as files of the format do.
  case otherFormat
  /// The file ends before something that it says it has.
  case cutOff(String)
  /// What the header says cannot be.
  case nonsense(String)
  /// The disk is encrypted.
  case encrypted
  /// It is something that QEMU does not read; more words on what.
  case unsupported(String)
  /// A system call failed.
  case unreadable(Errno)
}

/// An image file of which small parts are read.
struct HeaderReader {
  private let image: any BaseReader

  init(_ image: any BaseReader) {
    self.image = image
  }

  /// Bytes of the file.
  var size: UInt64 { image.size }

  /// Most bytes that are read at once.
  static let largestRead = 8 << 20

  /// Whether the file has all of these bytes.
  func has(_ count: UInt64, at offset: UInt64) -> Bool { offset <= size && count <= size - offset }

  /// Bytes of the file. The caller sees to it that there are not too many.
  ///
  /// - Parameter part: what they are, for the message where the file does not have them.
  func bytes(_ count: Int, at offset: UInt64, part: String = "header") throws(VirtualDiskFault) -> [UInt8] {
    precondition((0...Self.largestRead).contains(count))
    let bytes: [UInt8]?
    do throws(Errno) { bytes = try image.bytes(count, at: offset) } catch { throw .unreadable(error) }
    guard let bytes else { throw .cutOff("it ends before its \(part)") }
    return bytes
  }

  /// As many bytes as the file has from `offset` on, at most `count`.
  func bytes(upTo count: Int, at offset: UInt64) throws(VirtualDiskFault) -> [UInt8] {
    do throws(Errno) { return try image.bytes(upTo: count, at: offset) } catch { throw .unreadable(error) }
  }
}

extension RandomAccessCollection<UInt8> where Index == Int {
  /// The bytes as a name to show, with what cannot be shown replaced, and not too long.
  var shown: String {
    let longest = 200
    let text = String(decoding: prefix(longest), as: UTF8.self).printable
    return count > longest ? text + "…" : text
  }
}

extension [UInt8] {
  /// Where a text begins; nil where it is not there.
  func place(of text: StaticString) -> Int? {
    let wanted = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    var start = 0
    while let found = self[start...].firstIndex(of: wanted[0]), found + wanted.count <= count {
      if self[found..<found + wanted.count].elementsEqual(wanted) { return found }
      start = found + 1
    }
    return nil
  }

  /// Where the last byte is that is not 0; nil where all are.
  var lastNonzero: Int? {
    withUnsafeBytes { bytes in
      var end = bytes.count
      // SAFETY: both loops stay within the bytes; unaligned loads are allowed.
      while end >= 8, bytes.loadUnaligned(fromByteOffset: end - 8, as: UInt64.self) == 0 { end -= 8 }
      while end > 0, bytes[end - 1] == 0 { end -= 1 }
      return end == 0 ? nil : end - 1
    }
  }
}
