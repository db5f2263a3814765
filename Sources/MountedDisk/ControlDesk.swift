// Where requests for control are answered: by a thread of their own, because what they ask may need the workers to go on
// serving. A worker only puts them down here. The thread begins with the first of them, so a mount that nobody asks anything
// has none.

internal import CLinux
internal import FuseSession
internal import Glibc
internal import MountControl
internal import SystemPackage
internal import Threads

/// Answers requests for control, one after the other.
final class ControlDesk: @unchecked Sendable {
  // SAFETY: what changes is used under `monitor` only.
  private let report: MountReport
  private let monitor = Monitor()
  private var waiting: [Parked] = []
  private var isOpen = false

  /// Most requests that wait. Each keeps who asks waiting, so there are no more unless somebody wants to be a nuisance.
  private static let mostWaiting = 64

  init(_ report: MountReport) {
    self.report = report
  }

  /// A request that waits for its answer.
  private final class Parked {
    var request: Request?
    let input: [UInt8]
    let mode: OpenMode

    init(_ request: consuming Request, _ input: [UInt8], _ mode: OpenMode) {
      self.request = consume request
      self.input = input
      self.mode = mode
    }
  }

  /// Takes a request from a worker. It is answered at once where it is none of ours or cannot wait.
  func take(_ request: consuming Request, _ call: ControlCall) {
    guard call.command == clinux_control_command, call.room >= CLINUX_CONTROL_BYTES else {
      return request.fail(.inappropriateIOCTLForDevice)
    }
    let parked = Parked(request, Array(call.input), call.mode)
    do throws(Errno) {
      try monitor.withLock { () throws(Errno) in
        guard waiting.count < Self.mostWaiting else { throw .resourceBusy }
        try open()
        waiting.append(parked)
        monitor.changed()
      }
    } catch {
      if let request = parked.request.take() { request.fail(error) }
    }
  }

  /// Starts the thread, once.
  private func open() throws(Errno) {
    guard !isOpen else { return }
    pthread_detach(try startThread { [self] in serve() })
    isOpen = true
  }

  private func serve() {
    while true {
      let parked = monitor.withLock {
        while waiting.isEmpty { monitor.wait() }
        return waiting.removeFirst()
      }
      guard let request = parked.request.take() else { continue }
      switch answer(parked.input, parked.mode) {
      case .success(let answer): request.reply(control: answer.bytes)
      case .failure(let error): request.fail(error)
      }
    }
  }

  private func answer(_ input: [UInt8], _ mode: OpenMode) -> Result<ControlAnswer, Errno> {
    let request: ControlRequest
    do {
      request = try ControlRequest(input)
    } catch {
      switch error {
      case .otherVersion: return .success(.otherVersion)
      case .notUnderstood: return .success(.notUnderstood)
      }
    }
    guard mode.contains(request.isChange ? .writing : .reading) else { return .failure(.badFileDescriptor) }
    switch request {
    case .status: return .success(.status(report.status))
    case .changes(let offset): return .success(.changes(report.changes(from: offset)))
    }
  }
}
