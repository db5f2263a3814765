// The fio rows, as values. To add a row, add a line.
//
// How long a row takes: a `pass` goes once over the area, however long that takes (sequential rows). `atMost` goes
// once over it or until the time is up (3 s, quick: 1 s), whichever is first: for random rows whose second pass would
// meet another state, blocks already cached or already written. `steady` goes on until the time is up (fio's
// runtime with time_based): nothing changes by it. Warm rows are a single pass, because several rivals lose their
// cached pages at each open: over and over within one open would mix their first pass with the kernel's cache.
//
// Direct rows go through libaio; io_uring measured the same on every contender. Random 4 KiB rows count in thousands
// of requests a second, the others in MiB/s. The same random sequence for everybody.

struct FioRow {
  enum Bound { case pass, atMost, steady }

  let id: String
  let title: String
  let arguments: [String]
  let bound: Bound
  /// What is cached when the clock starts.
  let cache: CacheState
  /// Whether the whole area is written and flushed first, outside the clock: the row is about blocks that the
  /// overlay already has.
  var written = false
  var unit = Unit.mebibytesPerSecond
}

private let sequential = ["--bs=1m"]
private let random = ["--bs=4k"]
/// With the fsync at the end inside the measured time.
private let flushed = ["--end_fsync=1"]

private func direct(depth: Int) -> [String] {
  ["--direct=1", "--ioengine=libaio", "--iodepth=\(depth)"]
}

let fioRows: [FioRow] = [
  FioRow(
    id: "read-seq-cold", title: "sequential 1 MiB read, cold",
    arguments: ["--rw=read"] + sequential, bound: .pass, cache: .cold),
  FioRow(
    id: "read-rand-cold", title: "random 4 KiB read, cold",
    arguments: ["--rw=randread"] + random, bound: .atMost, cache: .cold, unit: .thousandPerSecond),
  FioRow(
    id: "read-seq-warm", title: "sequential 1 MiB read, warm",
    arguments: ["--rw=read"] + sequential, bound: .pass, cache: .warm),
  FioRow(
    id: "read-rand-warm", title: "random 4 KiB read, warm",
    arguments: ["--rw=randread"] + random, bound: .atMost, cache: .warm, unit: .thousandPerSecond),
  FioRow(
    id: "read-seq-direct", title: "sequential 1 MiB direct read, depth 8",
    arguments: ["--rw=read"] + sequential + direct(depth: 8), bound: .steady, cache: .baseWarm),
  FioRow(
    id: "read-rand-direct-1", title: "random 4 KiB direct read, depth 1",
    arguments: ["--rw=randread"] + random + direct(depth: 1), bound: .steady, cache: .baseWarm,
    unit: .thousandPerSecond),
  FioRow(
    id: "read-rand-direct-32", title: "random 4 KiB direct read, depth 32",
    arguments: ["--rw=randread"] + random + direct(depth: 32), bound: .steady, cache: .baseWarm,
    unit: .thousandPerSecond),
  FioRow(
    id: "write-seq-first", title: "first sequential 1 MiB write, then fsync",
    arguments: ["--rw=write"] + sequential + flushed, bound: .pass, cache: .baseWarm),
  FioRow(
    id: "write-seq-second", title: "second sequential 1 MiB write, then fsync",
    arguments: ["--rw=write"] + sequential + flushed, bound: .pass, cache: .baseWarm, written: true),
  FioRow(
    id: "write-seq-direct", title: "sequential 1 MiB direct write, depth 8",
    arguments: ["--rw=write"] + sequential + direct(depth: 8), bound: .pass, cache: .baseWarm),
  FioRow(
    id: "write-rand", title: "random 4 KiB write, then fsync",
    arguments: ["--rw=randwrite"] + random + flushed, bound: .atMost, cache: .baseWarm,
    unit: .thousandPerSecond),
  FioRow(
    id: "write-rand-fsync", title: "random 4 KiB write, fsync after each",
    arguments: ["--rw=randwrite", "--fsync=1"] + random, bound: .atMost, cache: .baseWarm,
    unit: .thousandPerSecond),
  FioRow(
    id: "write-rand-direct-1", title: "random 4 KiB direct write, depth 1",
    arguments: ["--rw=randwrite"] + random + direct(depth: 1), bound: .atMost, cache: .baseWarm,
    unit: .thousandPerSecond),
  FioRow(
    id: "write-rand-direct-32", title: "random 4 KiB direct write, depth 32",
    arguments: ["--rw=randwrite"] + random + direct(depth: 32), bound: .atMost, cache: .baseWarm,
    unit: .thousandPerSecond),
  FioRow(
    id: "write-rand-direct-32-again", title: "the same into blocks already written",
    arguments: ["--rw=randwrite"] + random + direct(depth: 32), bound: .steady, cache: .baseWarm,
    written: true, unit: .thousandPerSecond),
  FioRow(
    id: "mixed", title: "mixed 70/30 random 4 KiB direct, two jobs of depth 8",
    arguments: ["--rw=randrw", "--rwmixread=70", "--numjobs=2", "--group_reporting"] + random
      + direct(depth: 8),
    bound: .steady, cache: .baseWarm, unit: .thousandPerSecond),
]
