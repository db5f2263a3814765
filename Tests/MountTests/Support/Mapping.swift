// A mapping of a file, touched with a guard: should the server of the mount die, the access fails instead of the tests.

import CLinux
import Glibc
import SystemPackage

final class Mapping {
  private let address: UnsafeMutableRawPointer
  private let count: Int

  /// Maps the first bytes of a file; MAP_SHARED or MAP_PRIVATE.
  init(_ file: TestFile, count: Int, flags: CInt, protection: CInt = PROT_READ | PROT_WRITE) throws(Errno) {
    clinux_install_fault_guard()
    guard let address = mmap(nil, count, protection, flags, file.descriptor, 0), address != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    self.address = address
    self.count = count
  }

  deinit { munmap(address, count) }

  func read(_ count: Int, at offset: Int) throws(Errno) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    if clinux_copy_guarded(&bytes, address + offset, count) != 0 { throw .ioError }
    return bytes
  }

  func write(_ bytes: [UInt8], at offset: Int) throws(Errno) {
    if clinux_copy_guarded(address + offset, bytes, bytes.count) != 0 { throw .ioError }
  }

  func sync() throws(Errno) { try TestFile.check(msync(address, count, CInt(MS_SYNC))) }
}
