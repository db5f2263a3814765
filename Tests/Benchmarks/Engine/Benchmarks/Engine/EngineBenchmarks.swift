// What one request costs in the engine, without FUSE: time and allocations, of which reads and writes in place must have
// none.
//
// The base is in memory and the overlay a file in /var/tmp (or $TMPDIR), as in a mount. An iteration is a thousand
// requests at places spread over the disk.

import Benchmark
import CAllocations
import CopyOnWrite
import DiskIO
import Glibc
import SystemPackage

let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .allocations],
    timeUnits: .nanoseconds,
    warmupIterations: 5,
    scalingFactor: .kilo,
    maxDuration: .seconds(2),
    maxIterations: 2000)

  Benchmark("read 4 KiB, clean") { benchmark in
    let stage = try Stage()
    try benchmark.thousand { try stage.read(4096, at: $0) }
  }

  Benchmark("read 4 KiB, written") { benchmark in
    let stage = try Stage()
    try stage.writeAll()
    try benchmark.thousand { try stage.read(4096, at: $0) }
  }

  Benchmark("read 128 KiB, every other block written") { benchmark in
    let stage = try Stage()
    try stage.writeEveryOtherBlock()
    try benchmark.thousand { try stage.read(128 << 10, at: $0) }
  }

  Benchmark("rewrite 4 KiB") { benchmark in
    let stage = try Stage()
    try stage.writeAll()
    try benchmark.thousand { try stage.write(4096, at: $0) }
  }

  Benchmark("rewrite 512 bytes") { benchmark in
    let stage = try Stage()
    try stage.writeAll()
    try benchmark.thousand { try stage.write(512, at: $0 + 512) }
  }

  Benchmark("first write 4 KiB") { benchmark in
    let stage = try Stage()
    try benchmark.thousand { try stage.write(4096, at: $0) }
    benchmark.stopMeasurement()
    try stage.trimAll()
  }

  Benchmark("first write 512 bytes (copy-up)") { benchmark in
    let stage = try Stage()
    try benchmark.thousand { try stage.write(512, at: $0 + 512) }
  }

  Benchmark("trim 4 KiB") { benchmark in
    let stage = try Stage()
    try stage.writeAll()
    try benchmark.thousand { try stage.disk.zero($0..<$0 + 4096) }
  }
}

extension BenchmarkMetric {
  /// Calls of the allocator.
  static var allocations: BenchmarkMetric { .custom("Allocations", polarity: .prefersSmaller, useScalingFactor: true) }
}

extension Benchmark {
  /// Makes a thousand requests at different multiples of 128 KiB, far from each other.
  func thousand(_ request: (UInt64) throws -> Void) throws {
    let before = callocations_count()
    startMeasurement()
    for index in scaledIterations {
      // An odd number and a power of two: no place twice.
      try request(UInt64(index) * 389 % Stage.places * Stage.stride)
    }
    stopMeasurement()
    measurement(.allocations, Int(callocations_count() - before))
  }
}
