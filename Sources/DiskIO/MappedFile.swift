// A file mapped shared and writable. A store costs a memory copy instead of a system call, but where the file system has
// no space behind a hole, or the disk fails, it is SIGBUS instead of an errno: every access goes through the guard.

internal import CLinux
internal import Glibc

/// A shared mapping of the start of a file. It may reach beyond the file's end; touching bytes there faults.
public struct MappedFile: ~Copyable, @unchecked Sendable {
  // SAFETY: the address range is this value's alone and stays mapped until deinit. Concurrent access to the bytes is
  // the owner's business, as with any shared memory.
  private let address: UnsafeMutableRawPointer
  /// The same bytes once more, to store to; where there is no room for that, the same addresses.
  private let storeAddress: UnsafeMutableRawPointer

  /// How many bytes of the file are mapped, from its start.
  public let length: UInt64

  #if DEBUG
    private let faults: Faults?
  #endif

  /// Maps the first `length` bytes of `file`.
  ///
  /// Twice, because the two uses want opposite things of a page that is not in memory. Reading ahead around it is right for
  /// reads. For a store into a hole it means the zeroing of as much as the disk's readahead (8 MiB on some): a first write
  /// of 4 KiB took 42 µs with it, and 6 µs without.
  ///
  /// - Returns: nil where `length` bytes cannot be mapped.
  public init?(_ file: borrowing File, length: UInt64) {
    guard length > 0, let count = Int(exactly: length) else { return nil }
    guard let address = Self.map(file, count) else { return nil }
    clinux_install_fault_guard()
    self.address = address
    if let second = Self.map(file, count) {
      // A kernel that does not listen costs time and nothing else.
      _ = madvise(second, count, MADV_RANDOM)
      storeAddress = second
    } else {
      storeAddress = address
    }
    self.length = length
    #if DEBUG
      faults = file.faults
    #endif
  }

  private static func map(_ file: borrowing File, _ count: Int) -> UnsafeMutableRawPointer? {
    let flags = MAP_SHARED | MAP_NORESERVE
    let address = mmap(nil, count, PROT_READ | PROT_WRITE, flags, file.descriptor, 0)
    guard let address, address != MAP_FAILED else { return nil }
    // A guest's data does not belong into a core file.
    guard madvise(address, count, MADV_DONTDUMP) == 0 else {
      munmap(address, count)
      return nil
    }
    return address
  }

  deinit {
    munmap(address, Int(length))
    if storeAddress != address { munmap(storeAddress, Int(length)) }
  }

  /// The address of byte `offset`, for handing to the kernel, which answers EFAULT where a plain access would fault.
  @inline(__always)
  public func pointer(at offset: UInt64) -> UnsafeMutableRawPointer {
    assert(offset < length)
    #if DEBUG
      if let faults, faults.strikesMapping(.read) { return Faults.brokenMemory }
    #endif
    return address + Int(offset)
  }

  /// Stores `bytes` at byte `offset`.
  ///
  /// - Returns: false where the mapping faulted; part of the bytes may have been stored.
  @inline(__always)
  public func store(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) -> Bool {
    assert(offset + UInt64(bytes.count) <= length)
    let target = UnsafeMutableRawBufferPointer(start: storeAddress + Int(offset), count: bytes.count)
    #if DEBUG
      if let faults, faults.strikesMapping(.store) || faults.strikesMapping(.write) {
        // As promised: part of the bytes may be there.
        _ = GuardedCopy.copy(UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count / 2)]), to: target)
        return false
      }
    #endif
    return GuardedCopy.copy(bytes, to: target)
  }

  /// Stores zeros.
  ///
  /// - Returns: false where the mapping faulted; part of the bytes may have been stored.
  public func storeZeros(_ range: Range<UInt64>) -> Bool {
    assert(range.upperBound <= length)
    #if DEBUG
      if let faults, faults.strikesMapping(.store) || faults.strikesMapping(.write) {
        _ = clinux_zero_guarded(storeAddress + Int(range.lowerBound), range.count / 2)
        return false
      }
    #endif
    return clinux_zero_guarded(storeAddress + Int(range.lowerBound), Int(range.upperBound - range.lowerBound)) == 0
  }
}

/// Copies to and from memory that may be a mapping.
public enum GuardedCopy {
  /// Copies all of `source` to the start of `target`, which is at least as large.
  ///
  /// - Returns: false where either side faulted; part of the bytes may have been copied.
  @inline(__always)
  public static func copy(_ source: UnsafeRawBufferPointer, to target: UnsafeMutableRawBufferPointer) -> Bool {
    assert(source.count <= target.count)
    guard let from = source.baseAddress, let to = target.baseAddress else { return true }
    return clinux_copy_guarded(to, from, source.count) == 0
  }
}
