// Headers of virtual disks, which a guest may have written.

@testable import VirtualDisks

/// A header is refused in one line, or it is of a disk that can be, and what it names can be shown. In what only looks like a
/// format, no name of another file may go unseen; that is VirtualDiskHeaderTests' part.
func fuzzVirtualDisk(_ input: inout Input) {
  let formats = VirtualDiskFormat.allCases
  let format = formats[Int(input.byte()) % formats.count]
  let (pieces, size) = takeImage(&input)
  let image = SparseImage(pieces, size: size)
  _ = try? VirtualDiskFormat.detect(in: image)
  do throws(VirtualDiskFault) {
    let header = try VirtualDiskHeader(of: image, as: format)
    require(header.size <= UInt64(Int64.max), "\(header)")
    if let reference = header.reference {
      require(isOneLine(reference.name) && isOneLine(reference.kind), "\(reference)")
    }
  } catch {
    let message = VirtualDiskError(path: "/image", format: format, problem: .fault(error)).description
    require(isOneLine(message) && message.contains("/image"), message)
  }
}

private func isOneLine(_ text: String) -> Bool { !text.unicodeScalars.contains { $0.value < 0x20 } }
