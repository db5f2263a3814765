// What the processes of one round share: a page of numbers in a file that all of them map.

internal import Glibc
internal import Synchronization
internal import SystemPackage

final class Control: @unchecked Sendable {
  // SAFETY: the mapping is never unmapped, and all of it is atomics.
  private let words: UnsafeMutablePointer<Atomic<UInt64>>
  let path: String

  private enum Place: Int {
    case isStopping, pausesWanted, arrived, pausesOver, size, cutTo, failures, counters
  }

  private static let bytes = 65536
  private static let largestIndex = bytes / 8 - Place.counters.rawValue

  /// Maps the numbers in a file, which is made where it is not there.
  init(_ path: String) throws(Errno) {
    let file = try OpenFile(path, O_RDWR | O_CREAT)
    if try file.size < Self.bytes { try file.resize(to: Self.bytes) }
    let address = mmap(nil, Self.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor, 0)
    guard let address, address != MAP_FAILED else { throw Errno(rawValue: errno) }
    self.path = path
    words = address.bindMemory(to: Atomic<UInt64>.self, capacity: Self.bytes / 8)
  }

  private subscript(_ place: Place) -> UInt64 {
    get { words[place.rawValue].load(ordering: .sequentiallyConsistent) }
    set { words[place.rawValue].store(newValue, ordering: .sequentiallyConsistent) }
  }

  /// Whether everybody is to check and end.
  var isStopping: Bool {
    get { self[.isStopping] != 0 }
    set { self[.isStopping] = newValue ? 1 : 0 }
  }

  /// Size of the file.
  var size: Int {
    get { Int(self[.size]) }
    set { self[.size] = UInt64(newValue) }
  }

  /// The least size that the file had during the last pause.
  var cutTo: Int {
    get { Int(self[.cutTo]) }
    set { self[.cutTo] = UInt64(newValue) }
  }

  var failures: Int { Int(self[.failures]) }

  func countFailure() { words[Place.failures.rawValue].add(1, ordering: .sequentiallyConsistent) }

  // MARK: Operations

  func count(owner: Int) {
    words[Place.counters.rawValue + owner % Self.largestIndex].add(1, ordering: .relaxed)
  }

  func operations(owners: Int) -> Int {
    (0..<owners).reduce(0) { $0 + Int(words[Place.counters.rawValue + $1].load(ordering: .relaxed)) }
  }

  // MARK: Pauses

  /// How many pauses the coordinator asked for so far.
  var pausesWanted: UInt64 { self[.pausesWanted] }

  /// Runs `body` while all of them wait.
  func pausing(_ owners: Int, isAborted: () -> Bool, _ body: () throws -> Void) rethrows -> Bool {
    self[.arrived] = 0
    self[.pausesWanted] += 1
    while self[.arrived] < owners {
      if isAborted() { return false }
      usleep(200)
    }
    try body()
    self[.pausesOver] = self[.pausesWanted]
    return true
  }

  /// Waits through a pause.
  func waitForPause(_ number: UInt64) {
    words[Place.arrived.rawValue].add(1, ordering: .sequentiallyConsistent)
    while self[.pausesOver] < number { usleep(200) }
  }
}
