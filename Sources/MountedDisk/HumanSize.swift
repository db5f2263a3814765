// Sizes for people.

/// A size with at most one decimal, rounded down: `512 MiB`, `1.5 GiB`.
public func humanSize(_ bytes: UInt64) -> String {
  let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
  var power = 0
  while power + 1 < units.count, bytes >> (10 * UInt64(power + 1)) > 0 { power += 1 }
  let unit: UInt64 = 1 << (10 * UInt64(power))
  // Of a unit's rest, at most 1023/1024, ten times that fits wherever the unit is an exbibyte or less.
  let tenth = bytes % unit * 10 / unit
  return tenth == 0 ? "\(bytes / unit) \(units[power])" : "\(bytes / unit).\(tenth) \(units[power])"
}
