// What lies below saved changes, in the words of qcow2: a name that QEMU opens again, a format, and how many bytes of it are
// those that the mount showed.

internal import DiskIO
internal import MountControl
internal import SystemPackage

/// The backing file of a saved file.
struct Backing: Equatable {
  /// Its absolute path, a URI, or QEMU's description of a part of it behind `json:`.
  let name: String
  /// QEMU's name of its format.
  let format: String
  /// Bytes from the beginning on that it shows just as the mount did.
  let size: UInt64

  /// Most bytes of a name (QEMU's docs/interop/qcow2.txt).
  private static let longestName = 1023
  /// QEMU counts disks in these.
  static let sectorSize: UInt64 = 512

  /// - Parameters:
  ///   - base: what the mount says of its image.
  ///   - source: what the kernel's mount table says, which the process that reads the image had no part in.
  init(of base: MountStatus.Base, source: String) throws(SaveError) {
    func refuse(_ reason: String) -> SaveError { .unnameable(base.source, reason: reason) }
    guard base.source == source else { throw refuse("the mount table calls it \(source)") }
    let formats = ["raw", "qcow2", "vmdk", "vhdx", "vdi", "vpc"]
    guard formats.contains(base.format) else { throw refuse("it is compressed (\(base.format))") }
    let part = base.part ?? 0..<base.size
    let isWhole = part == 0..<base.size
    guard source.hasPrefix("/") else {
      guard let uri = Self.uri(source) else { throw refuse("QEMU cannot reach it by that name") }
      guard isWhole else { throw refuse("only a part of it is shown") }
      self = Backing(name: uri, format: "raw", size: base.size / Self.sectorSize * Self.sectorSize)
      return
    }
    guard let status = try? FileStatus(of: FilePath(source)), [.regular, .blockDevice].contains(status.kind) else {
      throw refuse("it is not there any more")
    }
    if base.format == "raw", status.kind == .regular, status.size != base.size { throw refuse("its size has changed") }
    if isWhole {
      self = Backing(name: source, format: base.format, size: base.size)
    } else {
      let size = (part.upperBound - part.lowerBound) / Self.sectorSize * Self.sectorSize
      let driver = status.kind == .blockDevice ? "host_device" : "file"
      let file = #"{"driver":"\#(driver)","filename":"\#(Self.escape(source))"}"#
      let inner = base.format == "raw" ? file : #"{"driver":"\#(base.format)","file":\#(file)}"#
      let name = #"json:{"driver":"raw","offset":\#(part.lowerBound),"size":\#(size),"file":\#(inner)}"#
      self = Backing(name: name, format: "raw", size: size)
    }
    guard name.utf8.count <= Self.longestName else { throw refuse("its name is too long") }
  }

  private init(name: String, format: String, size: UInt64) {
    self.name = name
    self.format = format
    self.size = size
  }

  /// The URI of an export where QEMU takes it, too: without TLS, and without a user name.
  private static func uri(_ text: String) -> String? {
    let schemes = ["nbd://", "nbd+unix://"]
    return schemes.contains(where: text.hasPrefix) && !text.contains("@") ? text : nil
  }

  /// As JSON has texts.
  static func escape(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": escaped += "\\\(scalar)"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: escaped.unicodeScalars.append(scalar)
      }
    }
    return escaped
  }
}
