// libnbd as Swift calls it: loaded at first use, its handles owned, its errors as values.

internal import CNbd
internal import SystemPackage

/// The functions of libnbd: `library.get_size(handle)` calls `nbd_get_size`.
@dynamicMemberLookup
struct NbdLibrary: @unchecked Sendable {
  // SAFETY: cnbd_load fills the table before it hands it out, and nobody writes to it afterwards.
  private let functions: UnsafePointer<cnbd_functions>

  /// Loads the library.
  init() throws(NbdProblem) {
    var reason: UnsafePointer<CChar>?
    guard let functions = cnbd_load(&reason) else { throw .noLibrary(reason.map { String(cString: $0) } ?? "") }
    self.functions = functions
  }

  subscript<Function>(dynamicMember function: KeyPath<cnbd_functions, Function>) -> Function {
    functions.pointee[keyPath: function]
  }

  /// Why the last call of this thread failed.
  var failure: NbdFailure {
    NbdFailure(
      message: self.get_error().map { String(cString: $0) } ?? "", errno: Errno(rawValue: self.get_errno()))
  }
}

/// A failure in libnbd's words.
struct NbdFailure: Equatable {
  /// Without the name of the function that failed, which nobody needs to know.
  let message: String
  /// `.init(rawValue: 0)` where there is none.
  let errno: Errno

  init(message: String, errno: Errno) {
    self.errno = errno
    let afterFunction = message.wholeMatch(of: /nbd_[a-z_]+: (.*)/)
    self.message = afterFunction.map { String($0.1) } ?? message
  }
}

/// A handle with one owner, which may be used by one thread at a time. Closing it drops the connection and what is in flight.
final class NbdHandle {
  let library: NbdLibrary
  let pointer: OpaquePointer

  init(_ library: NbdLibrary) throws(NbdProblem) {
    guard let pointer = library.create() else { throw .failed(library.failure) }
    self.library = library
    self.pointer = pointer
  }

  deinit { library.close(pointer) }

  /// Whether there is no connection any more, for whatever reason.
  var isOver: Bool { library.aio_is_dead(pointer) != 0 || library.aio_is_closed(pointer) != 0 }
}
