// The partitions of a mounted disk. Whoever writes to the disk may want to take over who reads its table, so that is done by
// a process without rights (ImageLook), and what it says is checked once more.

internal import CompressedImages
internal import DiskIO
internal import Glibc
internal import Images
internal import MountControl
internal import MountedDisk
internal import PartitionTables
internal import SystemPackage

enum PartitionLook {
  /// Most bytes of an answer.
  private static let mostBytes = 1 << 20

  /// Reads the partition table in the exposed file of a mount.
  ///
  /// - Throws: ``AlreadyTold`` where there is none that can be used; why was said.
  static func partitions(of client: MountClient) throws -> [PartitionRange] {
    var ends: [CInt] = [0, 0]
    guard pipe(&ends) == 0 else { throw Errno.current }
    let input = File(adopting: ends[0])
    let output = File(adopting: ends[1])
    fflush(nil)
    let child = fork()
    guard child != -1 else { throw Errno.current }
    if child == 0 {
      // The open file, and not its path once more.
      dup2(client.file.descriptor, STDIN_FILENO)
      dup2(output.descriptor, STDOUT_FILENO)
      look()
    }
    close(consume output)
    let text = readAll(input)
    var status: CInt = 0
    while waitpid(child, &status, 0) == -1, errno == EINTR {}
    guard status == 0, let text else { throw AlreadyTold() }
    return text.split(separator: "\n").compactMap(PartitionRange.init(line:))
  }

  private static func close(_ file: consuming File) {}

  private static func readAll(_ file: borrowing File) -> String? {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while bytes.count < mostBytes {
      let count = read(file.descriptor, &buffer, buffer.count)
      if count == -1, errno == EINTR { continue }
      guard count > 0 else { return count == 0 ? String(decoding: bytes, as: UTF8.self) : nil }
      bytes += buffer[..<count]
    }
    return nil
  }

  private static func look() -> Never {
    Log.start(toSystem: false, verbose: false)
    var settings = SourceSettings(.file("/proc/self/fd/0"))
    // What its first bytes say is the guest's choice.
    settings.format = .file(.raw)
    settings.sharesWithWriters = true
    do {
      try ImageLook.run(settings) { image in
        let table = try image.inPartitionTable(sectorSize: nil) { $0 }
        for partition in table.partitions where !partition.isContainer { print(PartitionRange(partition).line) }
      }
    } catch {
      Console.complain("\(error)")
      _exit(1)
    }
    _exit(0)
  }
}

extension PartitionRange {
  init(_ partition: Partition) {
    let words = [partition.type.name ?? partition.type.code, partition.name].filter { !$0.isEmpty }
    self.init(
      number: UInt64(partition.number), bytes: partition.bytes, description: words.joined(separator: " ").printable)
  }

  /// As one process tells it the other.
  var line: String { "\(number) \(bytes.lowerBound) \(bytes.upperBound) \(description)" }

  init?(line: some StringProtocol) {
    let words = line.split(separator: " ", maxSplits: 3)
    let numbers = words.prefix(3).compactMap { UInt64($0) }
    guard numbers.count == 3, numbers[1] <= numbers[2] else { return nil }
    self.init(
      number: numbers[0], bytes: numbers[1]..<numbers[2],
      description: words.count > 3 ? String(words[3]).printable : "")
  }
}
