// Write-backs that workers ask the keeper for, and wait for.

internal import Threads

/// The questions that are open.
final class WriteBacks: @unchecked Sendable {
  // SAFETY: what changes is used under `lock` only.
  private let link: KeeperLink
  private let lock = Lock()
  private let condition = Condition()
  private var next: UInt64 = 0
  /// Nil where there is no answer yet.
  private var answers: [UInt64: Bool?] = [:]

  init(_ link: KeeperLink) {
    self.link = link
  }

  /// Asks, and waits for the answer.
  ///
  /// - Parameters:
  ///   - start: the first byte.
  ///   - count: how many bytes; 0 for all.
  ///   - isWanted: asked again and again, whether to go on waiting.
  /// - Returns: whether it is done.
  func ask(_ start: UInt64, _ count: UInt64, _ isWanted: () -> Bool) -> Bool {
    lock.take()
    defer { lock.leave() }
    next += 1
    let id = next
    answers.updateValue(nil, forKey: id)
    defer { answers.removeValue(forKey: id) }
    link.send(.writeBack(id: id, start: start, count: count))
    while true {
      if case .some(.some(let answer)) = answers[id] { return answer }
      guard isWanted() else { return false }
      condition.wait(lock, until: Moment.now + .milliseconds(100))
    }
  }

  /// Takes an answer.
  func answer(_ id: UInt64, _ isDone: Bool) {
    lock.withLock {
      if answers.keys.contains(id) { answers.updateValue(isDone, forKey: id) }
      condition.signal()
    }
  }
}
