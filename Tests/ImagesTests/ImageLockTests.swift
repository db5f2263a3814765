// The lock that QEMU and we respect in each other.

import CLinux
import DiskIO
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import Images

@Suite struct ImageLockTests {
  private let directory: TemporaryDirectory
  private let image: FilePath

  init() throws {
    let directory = try TemporaryDirectory()
    image = try directory.makeImage(size: 4096)
    self.directory = directory
  }

  /// Opens the image as another program would, and takes QEMU's bytes for what it does (100) or refuses (200).
  private func otherProgram(takes bytes: Int64...) throws -> File {
    let other = try File.openReadOnly(image)
    for byte in bytes { #expect(clinux_ofd_lock_shared(other.descriptor, byte) == 0) }
    return other
  }

  private func isRefused(sharing: Bool = false) -> Bool {
    do throws(ImageError) {
      _ = try RawImage(path: image, sharesWithWriters: sharing)
      return false
    } catch {
      #expect(error == .inUse(image))
      return true
    }
  }

  @Test(arguments: [101, 103, 200] as [Int64])
  func `an image that another writes to, resizes or keeps for itself is refused until that ends`(byte: Int64) throws {
    let writer = try otherProgram(takes: byte)
    #expect(isRefused())
    #expect(!isRefused(sharing: true))
    _ = consume writer
    #expect(!isRefused())
  }

  @Test func `readers share an image, and a refused one leaves no lock behind`() throws {
    let first = try RawImage(path: image)
    let second = try RawImage(path: image)
    _ = (first, second)
    let reader = try otherProgram(takes: 100, 201, 203)
    #expect(!isRefused())
    _ = consume reader
  }

  @Test func `a writer finds the image locked as long as it is open`() throws {
    let other = try otherProgram()
    do {
      let image = try RawImage(path: image)
      // Those that do not want others to write or to resize, as QEMU looks at them before it does.
      for byte in [201, 203] as [Int64] { #expect(clinux_ofd_is_locked(other.descriptor, byte) == 1) }
      _ = image
    }
    for byte in [201, 203] as [Int64] { #expect(clinux_ofd_is_locked(other.descriptor, byte) == 0) }
  }
}
