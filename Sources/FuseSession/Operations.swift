// libfuse's table of callbacks: takes each request from C, finds the file system, and calls it.

import CFuse
import CLinux
import Glibc
import Synchronization
import SystemPackage

/// The callbacks that every session uses.
func makeOperations() -> fuse_lowlevel_ops {
  var operations = fuse_lowlevel_ops()
  operations.`init` = { userdata, connection in
    guard let connection else { return }
    SessionState.from(userdata)._withUnsafeGuaranteedRef { $0.negotiate(&connection.pointee) }
  }
  operations.lookup = { request, parent, name in
    guard let name else { return }
    withFileSystem(request) { $0.lookUp($1, name: name, in: parent) }
  }
  operations.getattr = { request, inode, _ in
    withFileSystem(request) { $0.getAttributes($1, inode: inode) }
  }
  operations.setattr = { request, inode, new, changes, _ in
    guard let new else { return }
    withFileSystem(request, .attributes) {
      $0.setAttributes(
        $1, inode: inode, to: InodeAttributes(new.pointee, inode: inode), changes: AttributeChanges(rawValue: changes))
    }
  }
  operations.open = { request, inode, info in
    guard let request, let info else { return }
    Worker.belongings.tally.count(.other, bytes: 0)
    let mode = OpenMode(flags: info.pointee.flags)
    let isWriter = mode.contains(.writing)
    let state = SessionState.from(fuse_req_userdata(request))
    // A flush comes with nothing else that tells who it is from, and neither does a request for control.
    info.pointee.fh = UInt64(mode.rawValue)
    if let refusal = state._withUnsafeGuaranteedRef({ $0.fileSystem.opening(inode, forWriting: isWriter) }) {
      return Request(request).fail(refusal)
    }
    if isWriter {
      state._withUnsafeGuaranteedRef {
        $0.writers.add(1, ordering: .acquiringAndReleasing)
        $0.requestMemory.expectWrites()
      }
    }
    // Whoever opened it gave up waiting, and the kernel will not release what was never open.
    if !Request(request).reply(open: info) {
      state._withUnsafeGuaranteedRef {
        if isWriter { $0.writers.subtract(1, ordering: .acquiringAndReleasing) }
        $0.fileSystem.closed(inode)
      }
    }
  }
  operations.release = { request, inode, info in
    guard let request, let info else { return }
    Worker.belongings.tally.count(.other, bytes: 0)
    SessionState.from(fuse_req_userdata(request))._withUnsafeGuaranteedRef { $0.fileSystem.closed(inode) }
    if info.pointee.flags & O_ACCMODE != O_RDONLY {
      SessionState.from(fuse_req_userdata(request))._withUnsafeGuaranteedRef {
        _ = $0.writers.subtract(1, ordering: .acquiringAndReleasing)
        $0.heldBack.forget()
      }
    }
    Request(request).succeed()
  }
  operations.flush = { request, _, info in
    guard let request, let info else { return }
    Worker.belongings.tally.count(.other, bytes: 0)
    guard OpenMode(handle: info.pointee.fh).contains(.writing) else { return Request(request).succeed() }
    let owed = SessionState.from(fuse_req_userdata(request))._withUnsafeGuaranteedRef { $0.heldBack.take() }
    if let owed { Request(request).fail(owed) } else { Request(request).succeed() }
  }
  operations.unlink = { request, parent, name in
    guard let name else { return }
    withFileSystem(request) { $0.remove($1, name: name, in: parent) }
  }
  operations.readdir = { request, inode, size, offset, _ in
    withFileSystem(request) {
      $0.readDirectory($1, inode: inode, from: Int(offset), size: size, answer: Worker.belongings.answer)
    }
  }
  operations.read = { request, inode, size, offset, _ in
    withFileSystem(request, .read, bytes: size) {
      $0.read($1, inode: inode, offset: UInt64(offset), size: size, answer: Worker.belongings.answer)
    }
  }
  operations.write = { request, inode, bytes, count, offset, info in
    let wasHeldBack = info?.pointee.writepage == 1
    withFileSystem(request, .write, bytes: count) {
      $0.write(
        $1, inode: inode, offset: UInt64(offset), bytes: UnsafeRawBufferPointer(start: bytes, count: count),
        wasHeldBack: wasHeldBack)
    }
  }
  operations.fallocate = { request, inode, mode, offset, count, _ in
    withFileSystem(request, .allocate, bytes: Int(count)) {
      $0.allocate($1, inode: inode, mode: mode, offset: UInt64(offset), count: UInt64(count))
    }
  }
  operations.lseek = { request, inode, offset, whence, _ in
    guard offset >= 0 else { return refuse(request, .noSuchAddressOrDevice) }
    withFileSystem(request, .seek) { $0.seek($1, inode: inode, offset: UInt64(offset), whence: whence) }
  }
  operations.statfs = { request, _ in
    withFileSystem(request) { $0.statistics($1) }
  }
  operations.ioctl = { request, inode, command, _, info, _, input, count, room in
    guard let info else { return refuse(request, .inappropriateIOCTLForDevice) }
    let call = ControlCall(
      command: command, input: UnsafeRawBufferPointer(start: input, count: count),
      mode: OpenMode(handle: info.pointee.fh), room: room)
    withFileSystem(request, .control) { $0.control($1, inode: inode, call) }
  }
  refuseChangesOfTheTree(&operations)
  return operations
}

extension OpenMode {
  /// What open(2) was told.
  fileprivate init(flags: CInt) {
    switch flags & O_ACCMODE {
    case O_RDONLY: self = .reading
    case O_WRONLY: self = .writing
    default: self = [.reading, .writing]
    }
  }

  /// What the kernel was told to know the open file by.
  fileprivate init(handle: UInt64) { self.init(rawValue: UInt8(truncatingIfNeeded: handle)) }
}

/// Nobody makes or renames anything in it.
private func refuseChangesOfTheTree(_ operations: inout fuse_lowlevel_ops) {
  operations.create = { request, _, _, _, _ in refuse(request, .notPermitted) }
  operations.mknod = { request, _, _, _, _ in refuse(request, .notPermitted) }
  operations.mkdir = { request, _, _, _ in refuse(request, .notPermitted) }
  operations.symlink = { request, _, _, _ in refuse(request, .notPermitted) }
  operations.link = { request, _, _, _ in refuse(request, .notPermitted) }
  operations.rmdir = { request, _, _ in refuse(request, .notPermitted) }
  operations.rename = { request, _, _, _, _, _ in refuse(request, .notPermitted) }
}

private func refuse(_ request: fuse_req_t?, _ error: Errno) {
  guard let request else { return }
  Request(request).fail(error)
}

@inline(__always)
private func withFileSystem(
  _ request: fuse_req_t?, _ kind: RequestKind = .other, bytes: Int = 0,
  _ body: (FileSystem, consuming Request) -> Void
) {
  guard let request else { return }
  Worker.belongings.tally.count(kind, bytes: bytes)
  // SAFETY: the session holds its state, and that the file system, until its last worker has ended.
  SessionState.from(fuse_req_userdata(request))._withUnsafeGuaranteedRef { body($0.fileSystem, Request(request)) }
}
