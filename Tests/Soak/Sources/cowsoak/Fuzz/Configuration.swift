// What one round of fuzzing is like: everything follows from its seed, so that each process knows it, and a round that
// failed can be run again.

internal import Glibc

struct Configuration: CustomStringConvertible {
  let seed: UInt64
  let blockSize: Int
  /// Size of the image; seldom a multiple of anything.
  let size: Int
  let base: BaseLayout
  let threads: Int?
  let overlay: OverlayKind
  let detectsZeroes: Bool
  /// Reads leave copies of the base in the overlay.
  let copiesReads: Bool
  /// The mountpoint is a file.
  let onFile: Bool
  let processes: Int
  let threadsPerProcess: Int
  /// Bytes that belong to one owner before the next owner's come.
  let granule: Int
  /// Whether O_DIRECT is used, which needs owners that share no page.
  let usesDirect: Bool
  let hasPauses: Bool

  enum OverlayKind: Equatable {
    case directory
    case memory
    /// --max-overlay with so many bytes, which is too little.
    case limited(Int)
    /// A file system of so many bytes, which is too little.
    case full(Int)
  }

  var owners: Int { processes * threadsPerProcess }

  /// Whether space may run out: then writes are made safe one by one, because what the kernel has taken but not yet written
  /// may be lost.
  var mayFill: Bool {
    switch overlay {
    case .limited, .full: true
    case .directory, .memory: false
    }
  }

  init(seed: UInt64) {
    var random = Randomness(seed: seed)
    self.seed = seed
    blockSize = random.pick([4096, 4096, 8192, 65536, 524_288, 2 << 20])
    let megabytes = random.pick([1, 3, 8, 24, 48])
    size = (megabytes << 20) + random.pick([0, 1, 511, 513, 4095, 4097, 65535, 700_001])
    base = BaseLayout(seed: random.next(), size: size, random: &random)
    threads = random.pick([nil, nil, 2, 3, 32])
    overlay =
      switch random.below(10) {
      case 0, 1, 2: .limited(max(size / random.pick([2, 5, 20]), blockSize))
      case 3: .full(max(size / random.pick([2, 3, 6]), 2 * blockSize, 65536))
      case 4, 5: .memory
      default: .directory
      }
    detectsZeroes = random.chance(0.4)
    onFile = random.chance(0.2)
    processes = random.pick([1, 2, 3, 4])
    threadsPerProcess = random.pick([1, 2, 3])
    let isFull: Bool
    switch overlay {
    case .limited, .full: isFull = true
    default: isFull = false
    }
    usesDirect = isFull || random.chance(0.6)
    granule =
      usesDirect ? random.pick([4096, 16384, 65536, 1 << 20]) : random.pick([1000, 4095, 10_007, 66_000, 1_048_577])
    hasPauses = random.chance(0.7)
    copiesReads = random.chance(0.4)
  }

  /// For cowmount.
  var options: [String] {
    var options = ["--block-size", "\(blockSize)"]
    if let threads { options += ["--threads", "\(threads)"] }
    if detectsZeroes { options += ["--detect-zeroes", "on"] }
    if copiesReads { options.append("--cow-on-read") }
    switch overlay {
    case .memory: options += ["--memory", "--max-overlay", "1G"]
    case .limited(let bytes): options += ["--max-overlay", "\(bytes)"]
    case .directory, .full: break
    }
    if onFile { options.append("--nonempty") }
    return options
  }

  var description: String {
    """
    blocks \(blockSize), \(size) bytes (\(base)), overlay \(overlay)\(detectsZeroes ? ", zeroes detected" : "")\(copiesReads ? ", reads copied" : ""), \
    serving threads \(threads.map(String.init) ?? "default"), \(processes) processes x \(threadsPerProcess) threads, \
    owners every \(granule) bytes\(usesDirect ? ", O_DIRECT" : "")\(hasPauses ? ", resized" : "")\
    \(onFile ? ", on a file" : "")
    """
  }
}

/// What the base contains.
struct BaseLayout: CustomStringConvertible {
  let seed: UInt64
  let size: Int
  /// In order; what lies between is holes.
  let data: [Range<Int>]

  init(seed: UInt64, size: Int, random: inout Randomness) {
    self.seed = seed
    self.size = size
    switch random.below(4) {
    case 0: data = [0..<size]
    case 1: data = []
    default:
      var data: [Range<Int>] = []
      var position = random.below(100_000)
      while position < size {
        let end = min(size, position + 1 + random.below(600_000))
        data.append(position..<end)
        position = end + 4096 + random.below(400_000)
      }
      self.data = data
    }
  }

  var description: String { data.isEmpty ? "all hole" : data.count == 1 ? "all data" : "\(data.count) extents" }

  /// Fills in what the base has from `offset` on; zeros beyond its end.
  func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int) {
    buffer.initializeMemory(as: UInt8.self, repeating: 0)
    let wanted = offset..<offset + buffer.count
    for extent in data where extent.overlaps(wanted) {
      let part = extent.clamped(to: wanted)
      let slice = buffer[part.lowerBound - offset..<part.upperBound - offset]
      Pattern.fill(UnsafeMutableRawBufferPointer(rebasing: slice), at: part.lowerBound, seed: seed)
    }
  }

  /// Makes the image.
  func write(to path: String) throws {
    let file = try OpenFile(path, O_RDWR | O_CREAT)
    try file.resize(to: size)
    let buffer = Buffer(count: 1 << 20)
    for extent in data {
      var position = extent.lowerBound
      while position < extent.upperBound {
        let part = buffer.prefix(min(1 << 20, extent.upperBound - position))
        Pattern.fill(part, at: position, seed: seed)
        try file.write(UnsafeRawBufferPointer(part), at: position)
        position += part.count
      }
    }
  }

  /// Whether the image at `path` is still what was written.
  func isIntact(at path: String) throws -> Bool {
    let file = try OpenFile(path, O_RDONLY)
    guard try file.size == size else { return false }
    let (found, expected) = (Buffer(count: 1 << 20), Buffer(count: 1 << 20))
    var position = 0
    while position < size {
      let count = min(1 << 20, size - position)
      _ = try file.read(into: found.prefix(count), at: position)
      fill(expected.prefix(count), at: position)
      if !Bytes.areEqual(found.prefix(count), expected.prefix(count)) { return false }
      position += count
    }
    return true
  }
}
