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
  private let history: DiskHistory
  private let monitor = Monitor()
  private var waiting: [Parked] = []
  private var isOpen = false
  private var hasToTidy = false

  /// Most requests that wait. Each keeps who asks waiting, so there are no more unless somebody wants to be a nuisance.
  private static let mostWaiting = 64

  init(_ report: MountReport, _ history: DiskHistory) {
    self.report = report
    self.history = history
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

  /// Has layers that nobody can reach given up soon.
  func tidy() {
    monitor.withLock {
      // Without a thread, nothing is given up until there is one.
      try? open()
      hasToTidy = true
      monitor.changed()
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
      let parked: Parked? = monitor.withLock {
        while waiting.isEmpty, !hasToTidy { monitor.wait() }
        if !waiting.isEmpty { return waiting.removeFirst() }
        hasToTidy = false
        return nil
      }
      guard let parked else {
        history.tidy()
        continue
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
    do throws(DiskHistory.Refused) {
      return .success(try answer(request))
    } catch {
      return .success(.refused(error.reason, error.error?.rawValue ?? 0))
    }
  }

  private func answer(_ request: ControlRequest) throws(DiskHistory.Refused) -> ControlAnswer {
    switch request {
    case .status: return .status(report.status)
    case .changes(let name, let since, let offset):
      return .changes(MountReport.changes(from: offset, try history.nextChange(of: name, since: since)))
    case .checkpoints(let first): return .checkpoints(history.checkpoints(from: first))
    case .checkpoint(let name): try history.checkpoint(name)
    case .deleteCheckpoint(let name): try history.delete(name)
    case .reset(let name, let isForced):
      // After the answer: who asked need not wait for that.
      defer { tidy() }
      try history.reset(to: name, isForced: isForced)
    }
    return .done
  }
}
