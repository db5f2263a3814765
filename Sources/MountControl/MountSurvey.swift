// All mounts that the caller can see. Some of them may be dead, or hang, and a process that waits for one that hangs cannot
// always be killed: so each is asked by a child of its own, and a child that does not come back in time is left behind.

internal import CLinux
internal import DiskIO
internal import Glibc
public import SystemPackage
internal import Threads

/// A mount in the list.
public struct SurveyedMount: Sendable {
  /// Where it is mounted, oldest first.
  public let mountpoints: [FilePath]
  /// What the mount table says is mounted.
  public let source: String
  /// What it said, or what is wrong with it, in words.
  public let answer: Result<MountStatus, SurveyFailure>
  /// Who uses it.
  public let users: [MountUser]
}

/// A mount that could not be asked.
public struct SurveyFailure: Error, Equatable, Sendable {
  /// Why, in words.
  public let words: String
}

/// A look at all mounts.
public enum MountSurvey {
  /// How long a mount has to answer.
  static let patience = Duration.seconds(5)
  /// Most mounts that are asked at once.
  private static let mostChildren = 64

  /// Asks all mounts. Single-threaded callers only: it forks.
  ///
  /// - Throws: where the mount table cannot be read, or no child be made.
  public static func mounts() throws(Errno) -> [SurveyedMount] {
    var groups: [(device: String, entries: [MountTableEntry])] = []
    for entry in try MountTable().entries where entry.type == MountPlace.type {
      if let index = groups.firstIndex(where: { $0.device == entry.device }) {
        groups[index].entries.append(entry)
      } else {
        groups.append((entry.device, [entry]))
      }
    }
    var answers: [Result<MountStatus, SurveyFailure>] = []
    var children: Set<pid_t> = []
    while answers.count < groups.count {
      let batch = groups[answers.count...].prefix(mostChildren)
      var asked: [GuardedAsk] = []
      for group in batch { asked.append(try GuardedAsk(group.entries[0].mountpoint, device: group.device)) }
      let end = Moment.now + patience
      answers += asked.map { $0.answer(by: end) }
      children.formUnion(asked.map(\.child))
    }
    let users = MountUsers(of: groups.map(\.device), besides: children)
    return zip(groups, answers).map { group, answer in
      let isAlive = if case .success = answer { true } else { false }
      return SurveyedMount(
        mountpoints: group.entries.map(\.mountpoint), source: group.entries[0].source, answer: answer,
        users: users.of(group.device, isAlive: isAlive))
    }
  }
}

/// A child that asks a mount for its status.
final class GuardedAsk {
  let child: pid_t
  private let pipe: File

  /// Begins to ask.
  ///
  /// - Parameters:
  ///   - path: the mountpoint, or the exposed file.
  ///   - device: of the file system that must be there.
  init(_ path: FilePath, device: String) throws(Errno) {
    var ends: [CInt] = [0, 0]
    guard Glibc.pipe(&ends) == 0 else { throw .current }
    let output = File(adopting: ends[1])
    pipe = File(adopting: ends[0])
    fflush(nil)
    child = fork()
    guard child != -1 else { throw .current }
    if child == 0 {
      clinux_stand_apart("cowmount-ask")
      // Who waits for the end of the caller's output must not wait for this.
      let kept = [output.descriptor]
      clinux_close_others(kept, 1)
      for descriptor in STDIN_FILENO...STDERR_FILENO { close(descriptor) }
      let answer = Self.ask(path, device)
      _ = answer.withUnsafeBytes { write(output.descriptor, $0.baseAddress, $0.count) }
      _exit(0)
    }
  }

  /// What is told the parent: an answer as it goes through the ioctl, or a text.
  private static func ask(_ path: FilePath, _ device: String) -> [UInt8] {
    do throws(ControlError) {
      let client = try MountClient(path, for: .looking)
      guard client.entry.device == device else { return Array("something else is mounted over it".utf8) }
      return ControlAnswer.status(try client.status()).bytes
    } catch {
      return Array(error.brief.utf8)
    }
  }

  /// Waits for the answer.
  func answer(by end: Moment) -> Result<MountStatus, SurveyFailure> {
    guard let bytes = read(by: end) else { return .failure(SurveyFailure(words: "does not answer")) }
    // No zombie stays, nor is one waited for that cannot end.
    waitpid(child, nil, WNOHANG)
    if let message = ControlMessage(bytes, .answer), case .status(let status)? = try? ControlAnswer(message) {
      return .success(status)
    }
    return .failure(SurveyFailure(words: String(decoding: bytes, as: UTF8.self).printable))
  }

  private func read(by end: Moment) -> [UInt8]? {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: ControlMessage.size)
    while bytes.count <= ControlMessage.size {
      var wait = pollfd(fd: pipe.descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&wait, 1, end.milliseconds) > 0 else { return nil }
      let count = Glibc.read(pipe.descriptor, &buffer, buffer.count)
      guard count > 0 else { return bytes }
      bytes += buffer[..<count]
    }
    return bytes
  }
}

extension ControlError {
  /// What is wrong, where the mount is named already.
  var brief: String {
    switch self {
    case .dead: "dead: its process was killed"
    case .forbidden: "may not be read by this user"
    case .foreign: "lets in nobody but the user who made it"
    case .mute: "is of an older version"
    case .otherVersion: "is of another version"
    case .nonsense: "gives answers that make no sense"
    case .ended: "ended meanwhile"
    case .busy: "is asked too much at once"
    case .noMount: "something else is mounted over it"
    case .unusable(_, let error), .failed(_, let error), .unwritten(_, let error): "cannot be asked: \(error)"
    case .foreignLink, .readOnly, .noCheckpoint, .noDirectory, .unrelated: "cannot be asked"
    }
  }
}
