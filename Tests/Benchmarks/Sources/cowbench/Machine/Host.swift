// The machine a run was made on, as far as its figures depend on it.

import Glibc
import SystemPackage

struct Host {
  let processor: String
  let processors: Int
  let memory: Int
  let kernel: String
  let fileSystem: String
  /// A guest whose free memory goes back to its host pays for every page it takes again.
  let givesMemoryBack: Bool

  static func describe(directory: FilePath) async -> Host {
    let information = readText("/proc/cpuinfo") ?? ""
    let memory = readText("/proc/meminfo") ?? ""
    let type = try? await command(
      "findmnt", ["--noheadings", "--output", "FSTYPE", "--target", directory.string])
    return Host(
      processor: value(of: "model name", in: information) ?? "unknown processor",
      processors: sysconf(CInt(_SC_NPROCESSORS_ONLN)),
      memory: (value(of: "MemTotal", in: memory)?.split(separator: " ").first.flatMap { Int($0) } ?? 0) >> 20,
      kernel: readText("/proc/sys/kernel/osrelease")?.firstLine ?? "unknown kernel",
      fileSystem: type?.firstLine ?? "unknown file system",
      givesMemoryBack: readText("/sys/module/page_reporting/parameters/page_reporting_order") != nil
        && names(in: "/sys/bus/virtio/drivers/virtio_balloon").contains { $0.hasPrefix("virtio") })
  }

  /// One line for the head of a table.
  var line: String {
    "\(processors) × \(processor), \(memory) GiB, Linux \(kernel), \(fileSystem)"
  }

  private static func value(of key: String, in text: String) -> String? {
    guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix(key) }),
      let colon = line.firstIndex(of: ":")
    else { return nil }
    return String(line[line.index(after: colon)...].drop(while: \.isWhitespace))
  }
}
