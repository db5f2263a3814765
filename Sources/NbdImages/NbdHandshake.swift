// From a URI to a connection that takes requests, within a given time, however slow or silent the other side is. (Looking up
// a host's name is the resolver's, which has time limits of its own.)

internal import CLinux
internal import CNbd
internal import Glibc
internal import Images
internal import SystemPackage
internal import Threads

/// Connecting to an export.
struct NbdHandshake: ~Copyable {
  private let library: NbdLibrary
  private let handle: NbdHandle
  private let uri: NbdURI
  private let patience: Duration
  private let deadline: Moment

  /// Connects.
  ///
  /// - Throws: what is in the way.
  static func connect(
    _ library: NbdLibrary, _ uri: NbdURI, within patience: Duration
  ) throws(NbdProblem) -> (handle: NbdHandle, export: NbdExport) {
    let handshake = try NbdHandshake(library, uri, within: patience)
    try handshake.reachServer()
    try handshake.chooseExport()
    clinux_keep_alive(library.aio_get_fd(handshake.handle.pointer))
    return (handshake.handle, try handshake.export())
  }

  private init(_ library: NbdLibrary, _ uri: NbdURI, within patience: Duration) throws(NbdProblem) {
    self.library = library
    self.uri = uri
    self.patience = patience
    deadline = Moment.now + patience
    handle = try NbdHandle(library)
    let pointer = handle.pointer
    // The user's own URI may name the user's own keys.
    _ = library.set_uri_allow_local_file(pointer, true)
    // Options are asked for one by one, so that the names of exports can still be asked for when one is unknown.
    _ = library.set_opt_mode(pointer, true)
    _ = library.add_meta_context(pointer, Self.allocation)
    // Whether all bytes came is looked at (NbdChunks), so they need not be zeros before.
    _ = library.set_pread_initialize(pointer, false)
    // An export may end within a block, against the rules, and is then read to its end.
    _ = library.set_strict_mode(pointer, library.get_strict_mode(pointer) & ~UInt32(LIBNBD_STRICT_ALIGN))
  }

  /// The metadata that tells of holes.
  static let allocation = "base:allocation"

  /// Goes on until the server waits for options, or is ready for requests without any.
  private borrowing func reachServer() throws(NbdProblem) {
    if library.aio_connect_uri(handle.pointer, uri.text) == -1 {
      let failure = library.failure
      throw failure.errno == .invalidArgument ? .badURI(failure.message) : .failed(failure)
    }
    try goOn()
  }

  private borrowing func chooseExport() throws(NbdProblem) {
    let pointer = handle.pointer
    guard library.aio_is_negotiating(pointer) == 1 else { return }
    var failed: CInt = 0
    let problem: NbdProblem? = try withUnsafeMutablePointer(to: &failed) { (failed) throws(NbdProblem) in
      let completion = nbd_completion_callback(
        callback: { failed, error in
          failed?.assumingMemoryBound(to: CInt.self).pointee = error?.pointee ?? 0
          return 1
        }, user_data: failed, free: nil)
      if library.aio_opt_go(pointer, completion) == -1 { throw .failed(library.failure) }
      try goOn()
      return failed.pointee == 0 ? nil : .failed(library.failure)
    }
    guard library.aio_is_ready(pointer) != 1 else { return }
    if Errno(rawValue: failed) == .noSuchFileOrDirectory { throw .noExport(exportName, others: exports()) }
    throw problem ?? .other("it cannot be opened")
  }

  /// The names of the server's exports, as many as a message can have; nil where it does not tell.
  private borrowing func exports() -> [String]? {
    final class Names { var names: [String] = [] }
    let names = Names()
    let list = nbd_list_callback(
      callback: { names, name, _ in
        guard let names, let name else { return 0 }
        let list = Unmanaged<Names>.fromOpaque(names).takeUnretainedValue()
        if list.names.count < 8 { list.names.append(String(cString: name)) }
        return 0
      }, user_data: Unmanaged.passUnretained(names).toOpaque(), free: nil)
    let completion = nbd_completion_callback(callback: { _, _ in 1 }, user_data: nil, free: nil)
    return withExtendedLifetime(names) {
      guard library.aio_opt_list(handle.pointer, list, completion) != -1, (try? goOn()) != nil else { return nil }
      return names.names
    }
  }

  private var exportName: String {
    guard let name = library.get_export_name(handle.pointer) else { return "" }
    defer { free(name) }
    return String(cString: name)
  }

  private borrowing func export() throws(NbdProblem) -> NbdExport {
    let pointer = handle.pointer
    let size = library.get_size(pointer)
    guard size != 0 else { throw .empty }
    // One that is no Int64 is negative here.
    guard size > 0, UInt64(size) <= ImageSize.largest else { throw .tooLarge }
    let limits = NbdReadLimits(
      minimum: library.get_block_size(pointer, CInt(LIBNBD_SIZE_MINIMUM)),
      maximum: library.get_block_size(pointer, CInt(LIBNBD_SIZE_MAXIMUM)), size: UInt64(size))
    return NbdExport(
      name: exportName, size: UInt64(size), reads: limits, allowsMoreConnections: library.can_multi_conn(pointer) == 1,
      tellsHoles: library.can_meta_context(pointer, Self.allocation) == 1)
  }

  /// Serves the connection until the step at hand is done.
  private borrowing func goOn() throws(NbdProblem) {
    let pointer = handle.pointer
    while library.aio_is_connecting(pointer) == 1 {
      let direction = library.aio_get_direction(pointer)
      var wait = pollfd(fd: library.aio_get_fd(pointer), events: direction.events, revents: 0)
      let count = poll(&wait, 1, deadline.milliseconds)
      if count == -1, errno == EINTR { continue }
      guard count > 0 else { throw .noAnswer(patience) }
      let isReadable = wait.revents & Int16(POLLIN | POLLHUP) != 0 && direction.reads
      let result =
        isReadable || !direction.writes ? library.aio_notify_read(pointer) : library.aio_notify_write(pointer)
      if result == -1 { throw .failed(library.failure) }
    }
    guard handle.isOver else { return }
    throw uri.wantsTLS ? .hasNoTLS : .other("the server hung up during the handshake")
  }
}

extension CUnsignedInt {
  /// Whether a handle waits for something to read (nbd_aio_get_direction).
  var reads: Bool { self & CUnsignedInt(LIBNBD_AIO_DIRECTION_READ) != 0 }

  /// Whether it waits until it can write.
  var writes: Bool { self & CUnsignedInt(LIBNBD_AIO_DIRECTION_WRITE) != 0 }

  /// What to poll for.
  var events: Int16 { (reads ? Int16(POLLIN) : 0) | (writes ? Int16(POLLOUT) : 0) }
}
