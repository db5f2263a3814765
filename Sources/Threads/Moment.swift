// Points in time by the monotonic clock, which nobody sets, and which stands still while the machine is suspended.
// ``Condition`` waits by the same clock.

internal import Glibc

/// A point in time.
public struct Moment: Comparable, Sendable {
  private let nanoseconds: Int64

  private init(nanoseconds: Int64) {
    self.nanoseconds = nanoseconds
  }

  /// The present.
  public static var now: Moment {
    var now = Glibc.timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Moment(nanoseconds: Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec))
  }

  /// Whether one is earlier.
  public static func < (left: Moment, right: Moment) -> Bool { left.nanoseconds < right.nanoseconds }

  /// Later by a time; the end of time where that is beyond it.
  public static func + (moment: Moment, time: Duration) -> Moment {
    let (seconds, attoseconds) = time.components
    let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, overflow2) = moment.nanoseconds.addingReportingOverflow(
      overflow ? .max : whole + attoseconds / 1_000_000_000)
    return Moment(nanoseconds: overflow || overflow2 ? .max : sum)
  }

  /// Milliseconds from now to then, rounded up, as poll(2) takes them; 0 where that time is past.
  public var milliseconds: CInt {
    let left = nanoseconds - Moment.now.nanoseconds
    return left <= 0 ? 0 : CInt(clamping: left / 1_000_000 + 1)
  }

  /// Whole seconds from then to now.
  public var secondsSince: UInt64 { UInt64(max(0, Moment.now.nanoseconds - nanoseconds)) / 1_000_000_000 }

  var timespec: Glibc.timespec {
    Glibc.timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
  }
}
