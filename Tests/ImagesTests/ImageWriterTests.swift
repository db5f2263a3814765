// What the mount table says of a device.

import CLinux
import SystemPackage
import Testing

@testable import DiskIO
@testable import Images

@Suite struct ImageWriterTests {
  private static let disk = BlockDevice(name: "sda1", number: clinux_device_number(8, 1), folder: "/")
  private static let other = BlockDevice(name: "dm-300", number: clinux_device_number(253, 300), folder: "/")

  @Test(
    arguments: [
      (
        "36 35 8:1 / /mnt rw,noatime shared:1 - ext4 /dev/sda1 rw",
        ImageWriter.mount(device: "/dev/sda1", place: "/mnt")
      ),
      // A mount that is read-only of a file system that is not.
      ("36 35 8:1 / /mnt ro master:1 shared:2 - ext4 /dev/sda1 rw,discard", .mount(device: "/dev/sda1", place: "/mnt")),
      (#"36 35 253:300 / /a\040b\134c rw - ext4 /dev/dm-300 rw"#, .mount(device: "/dev/dm-300", place: #"/a b\c"#)),
      ("36 35 8:1 / /mnt rw - ext4 /dev/sda1 ro,noatime", nil), ("36 35 8:2 / /mnt rw - ext4 /dev/sda2 rw", nil),
      ("36 35 0:24 / /mnt rw - tmpfs tmpfs rw", nil), ("36 35 0:24 / /mnt rw - btrfs /dev/no-such-device rw", nil),
      ("36 35 8:1 / /mnt rw -", nil), ("36 35 8:1", nil), ("", nil),
    ])
  func mounts(line: String, expected: ImageWriter?) {
    let table = "20 1 0:5 / /proc rw - proc proc rw\n\(line)\n"
    #expect(ImageWriter.find([Self.disk, Self.other], in: MountTable.parse(Array(table.utf8))) == expected)
  }

  @Test func numbers() {
    #expect(BlockDevice.number("8:1") == clinux_device_number(8, 1))
    #expect(BlockDevice.number("253:70000") == clinux_device_number(253, 70000))
    for text in ["", "8", "8:", ":1", "8:1:2", "a:b", "-1:2"] { #expect(BlockDevice.number(text[...]) == nil) }
  }
}
