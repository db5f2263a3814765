// What threads of the serving process ask the keeper for, because it takes rights, and wait for.

internal import DiskIO
internal import Glibc
internal import SystemPackage
internal import Threads

/// The questions that are open.
final class KeeperQuestions: @unchecked Sendable {
  // SAFETY: what changes is used under `lock` only.
  private let link: KeeperLink
  private let lock = Lock()
  private let condition = Condition()
  private var next: UInt64 = 0
  /// Nil where there is no answer yet.
  private var answers: [UInt64: Answer?] = [:]

  private struct Answer {
    let error: CInt
    /// What came with it; -1 for nothing.
    let descriptor: CInt
  }

  init(_ link: KeeperLink) {
    self.link = link
  }

  // MARK: Asking

  /// Has the kernel write back so many bytes (0: all) from a place on.
  ///
  /// - Parameter isWanted: asked again and again, whether to go on waiting.
  /// - Returns: whether it is done.
  func writeBack(_ start: UInt64, _ count: UInt64, _ isWanted: () -> Bool) -> Bool {
    (try? ask(isWanted) { .writeBack(id: $0, start: start, count: count) }) != nil
  }

  /// Another empty unnamed file for the overlay.
  func scratch(_ isWanted: () -> Bool) throws(Errno) -> File {
    let descriptor = try ask(isWanted) { .newScratch(id: $0) }
    // It came with one that this process had no room for.
    guard descriptor != -1 else { throw .tooManyOpenFiles }
    return .scratch(adopting: descriptor)
  }

  /// Has the kernel forget what it has of the first `count` bytes of the file, unwritten, and know its size.
  func forget(_ count: UInt64, size: UInt64, _ isWanted: () -> Bool) throws(Errno) {
    _ = try ask(isWanted) { .forget(id: $0, count: count, size: size) }
  }

  /// - Throws: what the keeper says; `.interrupted` where nobody wants it any more.
  private func ask(_ isWanted: () -> Bool, _ message: (UInt64) -> ServerMessage) throws(Errno) -> CInt {
    lock.take()
    defer { lock.leave() }
    next += 1
    let id = next
    answers.updateValue(nil, forKey: id)
    defer { answers.removeValue(forKey: id) }
    link.send(message(id))
    while true {
      if case .some(.some(let answer)) = answers[id] {
        guard answer.error == 0 else { throw Errno(rawValue: answer.error) }
        return answer.descriptor
      }
      guard isWanted() else { throw .interrupted }
      condition.wait(lock, until: Moment.now + .milliseconds(100))
    }
  }

  // MARK: Answers

  /// Takes an answer, and what came with it.
  func take(_ id: UInt64, error: CInt, descriptor: CInt) {
    let isOpen = lock.withLock {
      let isOpen = answers.keys.contains(id)
      if isOpen { answers.updateValue(Answer(error: error, descriptor: descriptor), forKey: id) }
      condition.signal()
      return isOpen
    }
    if !isOpen, descriptor != -1 { close(descriptor) }
  }
}
