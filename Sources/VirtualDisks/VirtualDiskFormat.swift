// Formats of virtual disks, which qemu-nbd serves: how they are told from raw images, and how files in them are named.

public import CopyOnWrite
internal import Images
public import SystemPackage

/// A format in which hypervisors keep disks.
public enum VirtualDiskFormat: String, CaseIterable, Sendable {
  /// QEMU's.
  case qcow2
  /// VMware's.
  case vmdk
  /// Hyper-V's.
  case vhdx
  /// VirtualBox's.
  case vdi
  /// Virtual PC's, also called VHD.
  case vpc

  /// Tells the format from the first bytes of an image; nil where they are none of these, and so a raw disk's.
  ///
  /// A fixed VHD is a raw disk with a footer, and is not told.
  public static func detect(in image: any BaseReader) throws(Errno) -> VirtualDiskFormat? {
    let start = try image.bytes(upTo: probeSize, at: 0)
    return allCases.first { $0.isBegun(by: start) }
  }

  /// As many bytes as QEMU looks at.
  private static let probeSize = 2048

  private func isBegun(by bytes: [UInt8]) -> Bool {
    switch self {
    case .qcow2: bytes.starts(with: QcowHeader.magic)
    case .vmdk: VmdkHeader.magics.contains { bytes.starts(with: $0) } || VmdkDescriptor.isBegun(by: bytes)
    case .vhdx: bytes.starts(with: VhdxHeader.magic)
    case .vdi: bytes.count >= 512 && bytes[VdiHeader.magicOffset...].starts(with: VdiHeader.magic)
    case .vpc: bytes.starts(with: VpcHeader.magic)
    }
  }

  /// What names of files in this format end with.
  private var suffixes: [String] {
    switch self {
    case .qcow2: [".qcow2", ".qcow"]
    case .vmdk: [".vmdk"]
    case .vhdx: [".vhdx"]
    case .vdi: [".vdi"]
    case .vpc: [".vhd", ".vpc"]
    }
  }

  /// The name for the disk in a file of this name: with `.img` for the format's suffix, because it is a raw disk then.
  func nameInside(_ name: String) -> String {
    guard let stem = name.droppingSuffix(among: suffixes) else { return name }
    return [".img", ".raw"].contains { stem.endsIgnoringCase(with: $0) } ? stem : stem + ".img"
  }

  /// What QEMU's block drivers and tools call it.
  var driver: String { rawValue }
}
