// Faults on purpose, for tests alone: system calls on a file fail, are cut short, are interrupted or take their time, as
// with nbdkit's error and delay filters. All of it is in debug builds only. A release build has neither this type nor a
// place that asks for it, so that no option, variable or file reaches it there.
//
// A test of the engine gives a `Faults` to the file whose calls are to fail (`File.faults`); a mapping of that file takes
// it over. A whole process takes rules from the environment variable COWMOUNT_TEST_FAULTS, for tests that mount: a list
// with commas of CALL:EFFECT[:PROBABILITY][@TRIGGER], where
//
//     CALL         base- or overlay-, and a case of FileCall: base-read, overlay-write, overlay-reserve …
//     EFFECT       EIO, ENOSPC, EDQUOT, EAGAIN (the call fails), short (half of the bytes), eintr (a signal comes before
//                  the call is made), delay=200 (the call takes so many milliseconds longer)
//     PROBABILITY  0 to 1; 1 where it is left out
//     TRIGGER      the absolute path of a file; the rule holds while there is one
//
// A mapping has no calls that could fail: where its file fails, touching it faults. An error in a rule for reading or
// writing has that effect, whichever error it is; short and eintr have none there. A rule for `store` is for stores into the
// mapping alone: the same bytes can be written by a call.

#if DEBUG
  internal import CLinux
  internal import Glibc
  internal import Synchronization
  internal import SystemPackage

  /// The faults of one file.
  final class Faults: Sendable {
    /// What becomes of a call.
    enum Effect: Equatable, Sendable {
      /// It is not made, and fails.
      case error(Errno)
      /// It is made for half of its bytes, but for one at least.
      case short
      /// It is interrupted by a signal, and is to be made again.
      case interrupted
      /// It is made later.
      case delay(milliseconds: Int)
    }

    /// When which calls have a fault.
    struct Rule: Equatable, Sendable {
      var call: FileCall
      var effect: Effect
      /// Which share of the calls is struck, from 0 to 1.
      var probability = 1.0
      /// The rule holds while there is a file at this path; nil: always.
      var trigger: FilePath?

      fileprivate func strikes(_ random: inout SplitMix) -> Bool {
        // By stat, which a confined server may call.
        var status = Glibc.stat()
        if let trigger, trigger.withPlatformString({ stat($0, &status) }) != 0 { return false }
        return probability >= 1 || Double.random(in: 0..<1, using: &random) < probability
      }
    }

    /// Where a thread is that comes to a call.
    enum Moment {
      case before, after
    }

    /// What a test does in the midst of somebody else's work: it may hold the thread there, or change the rules.
    typealias Visitor = @Sendable (FileCall, Moment) -> Void

    private let state: Mutex<(rules: [Rule], random: SplitMix, strikes: Int)>
    private let visitor = Mutex<Visitor?>(nil)

    init(_ rules: [Rule] = [], seed: UInt64 = 1) {
      state = Mutex((rules, SplitMix(state: seed), 0))
    }

    /// Has `visitor` called before and after each call, whatever becomes of it.
    func visit(_ visitor: Visitor?) { self.visitor.withLock { $0 = visitor } }

    private func pass(_ call: FileCall, _ moment: Moment) { visitor.withLock { $0 }?(call, moment) }

    /// What holds from now on.
    var rules: [Rule] {
      get { state.withLock { $0.rules } }
      set { state.withLock { $0.rules = newValue } }
    }

    /// How many calls were struck so far.
    var strikes: Int { state.withLock { $0.strikes } }

    /// To be asked before a call: waits where it is to be late, and tells what else becomes of it.
    func strike(_ call: FileCall) -> Effect? {
      pass(call, .before)
      let effects = state.withLock { state in
        let struck = state.rules.filter { $0.call == call && $0.strikes(&state.random) }.map(\.effect)
        if !struck.isEmpty { state.strikes += 1 }
        return struck
      }
      var result: Effect?
      for effect in effects {
        if case .delay(let milliseconds) = effect { Self.wait(milliseconds) } else { result = result ?? effect }
      }
      return result
    }

    /// Makes a call, with what becomes of it.
    func attempt<Result: BinaryInteger>(
      _ which: FileCall, count: Int, _ call: (_ count: Int) -> Result
    ) throws(Errno) -> Result {
      // Once is enough, or a rule without a probability would be for ever.
      var wasInterrupted = false
      defer { pass(which, .after) }
      return try retryingInterrupts {
        switch wasInterrupted ? nil : strike(which) {
        case .error(let error):
          errno = error.rawValue
          return -1
        case .interrupted:
          wasInterrupted = true
          errno = EINTR
          return -1
        case .short: return call(min(count, max(1, count / 2)))
        case .delay, nil: return call(count)
        }
      }
    }

    /// Whether touching a mapping of the file for this purpose is to fault.
    func strikesMapping(_ call: FileCall) -> Bool {
      if case .error = strike(call) { return true }
      return false
    }

    /// Signals do not make it shorter: a slow disk does not mind them either.
    private static func wait(_ milliseconds: Int) {
      var end = timespec()
      clock_gettime(CLOCK_MONOTONIC, &end)
      let nanoseconds = end.tv_nsec + milliseconds % 1000 * 1_000_000
      end.tv_sec += milliseconds / 1000 + nanoseconds / 1_000_000_000
      end.tv_nsec = nanoseconds % 1_000_000_000
      while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nil) == EINTR {}
    }

    // MARK: Broken memory

    /// Memory that faults when it is touched, as a mapping does whose file cannot be read: it lies behind the end of its
    /// file. As long as any access that begins there can be.
    // SAFETY: never unmapped; no byte of it is there to be raced for.
    nonisolated(unsafe) static let brokenMemory: UnsafeMutableRawPointer = {
      let length = 1 << 32
      let file = clinux_memory_file("broken")
      guard file >= 0, let address = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0),
        address != MAP_FAILED
      else { preconditionFailure("no address space for a test") }
      close(file)
      return address
    }()

    // MARK: From the environment

    /// What COWMOUNT_TEST_FAULTS has for files of this role, nil where it has nothing.
    static func ofProcess(_ role: FileRole) -> Faults? {
      switch role {
      case .base: base
      case .overlay: overlay
      }
    }

    private static let base = fromEnvironment(.base)
    private static let overlay = fromEnvironment(.overlay)

    private static func fromEnvironment(_ role: FileRole) -> Faults? {
      guard let text = getenv("COWMOUNT_TEST_FAULTS").map({ String(cString: $0) }) else { return nil }
      // A test that says nonsense must not pass for want of faults.
      guard let rules = parse(text, for: role) else { fatalError("COWMOUNT_TEST_FAULTS: cannot read '\(text)'") }
      return rules.isEmpty ? nil : Faults(rules)
    }

    /// The rules in a text that are for files of this role; nil where it cannot be read.
    static func parse(_ text: String, for role: FileRole) -> [Rule]? {
      var rules: [Rule] = []
      for part in text.split(separator: ",") {
        let triggered = part.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        let fields = triggered[0].split(separator: ":")
        guard (2...3).contains(fields.count), let dash = fields[0].firstIndex(of: "-"),
          let whose = FileRole(rawValue: String(fields[0][..<dash])),
          let call = FileCall(rawValue: String(fields[0][dash...].dropFirst())),
          let effect = Effect(fields[1]), let probability = fields.count == 3 ? Double(fields[2]) : 1
        else { return nil }
        let trigger = triggered.count == 2 ? FilePath(String(triggered[1])) : nil
        if whose == role {
          rules.append(Rule(call: call, effect: effect, probability: probability, trigger: trigger))
        }
      }
      return rules
    }
  }

  extension Faults.Effect {
    private static let errors = [
      "EIO": Errno.ioError, "ENOSPC": .noSpace, "EDQUOT": .diskQuotaExceeded, "EAGAIN": .resourceTemporarilyUnavailable,
    ]

    fileprivate init?(_ text: Substring) {
      switch text {
      case "short": self = .short
      case "eintr": self = .interrupted
      default:
        if text.hasPrefix("delay="), let milliseconds = Int(text.dropFirst(6)) {
          self = .delay(milliseconds: milliseconds)
        } else if let error = Self.errors[String(text)] {
          self = .error(error)
        } else {
          return nil
        }
      }
    }
  }

  /// Random numbers that follow from a seed.
  private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var mixed = state
      mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
      mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
      return mixed ^ (mixed >> 31)
    }
  }
#endif
