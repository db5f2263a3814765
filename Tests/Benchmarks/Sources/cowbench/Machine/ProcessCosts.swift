// What the processes behind a mount cost: memory, processor time, space on disk. All from /proc.

import Glibc
import SystemPackage

extension Stage {
  /// A field of /proc/PID/status such as `VmRSS`, summed over the processes, in MiB.
  func memory(_ field: String) -> Double {
    processes.map { kibibytes(field, in: "/proc/\($0)/status") }.reduce(0, +) / 1024
  }

  /// The proportional share of memory in MiB: pages that several processes share count once among them.
  var proportionalMemory: Double {
    processes.map { kibibytes("Pss", in: "/proc/\($0)/smaps_rollup") }.reduce(0, +) / 1024
  }

  /// Nanoseconds of processor time by thread. A clock tick (10 ms) would be too coarse to tell idle from nearly idle.
  var processorTimes: [String: Double] {
    var times: [String: Double] = [:]
    for pid in processes {
      for thread in names(in: FilePath("/proc/\(pid)/task")) {
        let text = readText(FilePath("/proc/\(pid)/task/\(thread)/schedstat")) ?? ""
        times[thread] = text.split(separator: " ").first.flatMap { Double(String($0)) }
      }
    }
    return times
  }

  /// The bytes on disk of every file that the processes hold open for writing.
  ///
  /// That is the overlay whatever its form: an unnamed file, a deleted one, a qcow2, a cache file. Standard output
  /// and error are the log's.
  var overlayBytes: Double {
    struct Identity: Hashable {
      let device: UInt64
      let inode: UInt64
    }
    var seen: Set<Identity> = []
    var blocks: Int64 = 0
    for pid in processes {
      for name in names(in: FilePath("/proc/\(pid)/fd")) {
        guard let number = Int(name), number > 2, isWritable(pid: pid, descriptor: number),
          let stat = try? Stat(FilePath("/proc/\(pid)/fd/\(number)")), stat.type == .regular
        else { continue }
        let identity = Identity(device: UInt64(stat.rawValue.st_dev), inode: UInt64(stat.rawValue.st_ino))
        if seen.insert(identity).inserted { blocks += Int64(stat.rawValue.st_blocks) }
      }
    }
    return Double(blocks) * 512
  }

  private func isWritable(pid: pid_t, descriptor: Int) -> Bool {
    let text = readText(FilePath("/proc/\(pid)/fdinfo/\(descriptor)")) ?? ""
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("flags:") }),
      let flags = line.split(whereSeparator: \.isWhitespace).last.flatMap({ Int32($0, radix: 8) })
    else { return false }
    return flags & O_ACCMODE != O_RDONLY
  }
}

/// A line `Field:   123 kB` of a file in /proc.
private func kibibytes(_ field: String, in path: String) -> Double {
  let text = readText(FilePath(path)) ?? ""
  guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(field + ":") }) else { return 0 }
  return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Double(String($0)) } ?? 0
}

extension Exposed {
  /// The bytes on disk that hold what was written: the overlay's; for a plain file its own.
  var bytesOnDisk: Double {
    guard stage.processes.isEmpty else { return stage.overlayBytes }
    return Double((try? Stat(file).rawValue.st_blocks) ?? 0) * 512
  }
}
