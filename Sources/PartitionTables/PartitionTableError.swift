// Why a partition table cannot be used, in the words that the user reads. The image's name comes before them.

public import SystemPackage

/// An image whose partition table cannot be used, or has no such partition.
public struct UnusablePartitionTable: Error, Equatable, CustomStringConvertible {
  /// What messages call the image.
  public let source: String
  /// What is wrong.
  public let problem: PartitionTableError

  /// Names the image with what is wrong with its table.
  public init(of source: String, _ problem: PartitionTableError) {
    self.source = source
    self.problem = problem
  }

  /// One line that names the image and the way out.
  public var description: String { "\(source) \(problem)" }
}

/// A partition table that is not there, is damaged, or does not fit its image.
public enum PartitionTableError: Error, Equatable, CustomStringConvertible {
  /// Neither an MBR nor a GPT.
  case noTable
  /// What begins in the first sector is a file system of this kind.
  case fileSystem(String)
  /// A part of the table cannot be read.
  case unreadable(at: UInt64, Errno)
  /// A partition ends beyond the image. `UInt64.max` stands for more than a number can hold.
  case outOfRange(Int, end: UInt64, size: UInt64)
  /// A partition ends before it begins.
  case inverted(Int)
  /// Two partitions have bytes in common.
  case overlap(Int, Int)
  /// The logical partitions of an extended one cannot be found.
  case damagedChain(container: Int, ChainFault)
  /// Neither copy of the GPT is intact.
  case damagedGuidTable(primary: GuidTableFault, backup: GuidTableFault)
  /// There is no such partition.
  case noPartition(Int, existing: [Int])
  /// The partition only holds logical ones.
  case container(Int, logical: [Int])

  /// What follows the name of the image in a sentence.
  public var description: String {
    switch self {
    case .noTable:
      "has no partition table (neither MBR nor GPT)"
    case .fileSystem(let name):
      "has no partition table: all of it is one \(name) file system"
    case .unreadable(let offset, let error):
      "has a partition table that cannot be read (at byte \(offset)): \(error)"
    case .outOfRange(let number, let end, let size):
      """
      has a damaged partition table, or its end is missing: partition \(number) \
      ends \(end == .max ? "beyond all sizes" : "at byte \(end)"), the image at \(size); --offset and --length take any part
      """
    case .inverted(let number):
      "has a damaged partition table: partition \(number) ends before it begins"
    case .overlap(let first, let second):
      """
      has a damaged partition table: partitions \(first) and \(second) overlap; --offset and --length take any part
      """
    case .damagedChain(let container, let fault):
      "has a damaged partition table: in the extended partition \(container), \(fault)"
    case .damagedGuidTable(let primary, let backup):
      "has a damaged GPT: the primary \(primary), the backup \(backup)"
    case .noPartition(let number, let existing):
      "has no partition \(number)\(existing.isEmpty ? ": its partition table is empty" : ", only \(Self.list(existing))")"
    case .container(let number, let logical):
      """
      has partition \(number) only as a container of logical \
      partitions\(logical.isEmpty ? ", and none in it" : "; choose from \(Self.list(logical))")
      """
    }
  }

  private static func list(_ numbers: [Int]) -> String {
    // A GPT may have thousands.
    numbers.count > 20
      ? numbers.prefix(20).map(String.init).joined(separator: ", ") + " …"
      : numbers.map(String.init).joined(separator: ", ")
  }
}

/// What is wrong with the chain of extended boot records (EBRs), each of which describes a logical partition and leads on.
public enum ChainFault: Equatable, Sendable, CustomStringConvertible {
  /// It leads back to where it was.
  case loop(sector: UInt64)
  /// It leads out of the extended partition.
  case leaves(sector: UInt64)
  /// What it leads to is no boot record.
  case unsigned(sector: UInt64)
  /// A record describes more than one partition, or leads on to more than one.
  case ambiguous(sector: UInt64)
  /// It has too many links.
  case endless
  /// A logical partition reaches out of the extended one.
  case outside(Int)

  /// What follows a comma in a sentence.
  public var description: String {
    switch self {
    case .loop(let sector): "the chain of logical partitions leads back to sector \(sector)"
    case .leaves(let sector): "the chain of logical partitions leads out of it, to sector \(sector)"
    case .unsigned(let sector): "the chain of logical partitions leads to sector \(sector), which is no boot record"
    case .ambiguous(let sector): "the boot record at sector \(sector) describes more than one partition"
    case .endless: "the chain of logical partitions is longer than any real one"
    case .outside(let number): "logical partition \(number) reaches out of it"
    }
  }
}

/// What is wrong with one of the two copies of a GPT.
public enum GuidTableFault: Error, Equatable, CustomStringConvertible {
  /// There is no header where it should be.
  case missing
  /// The header cannot be read.
  case unreadable(Errno)
  /// The header has a size that no header has.
  case headerSize(UInt32)
  /// The checksum of the header is wrong.
  case headerChecksum
  /// The header says that it belongs elsewhere.
  case misplaced(sector: UInt64)
  /// The header describes a list that no tool makes.
  case absurdList(count: UInt32, size: UInt32)
  /// The list of partitions is not within the image.
  case listOutOfRange
  /// The list of partitions cannot be read.
  case unreadableList(Errno)
  /// The checksum of the list of partitions is wrong.
  case listChecksum

  /// What follows the name of the copy in a sentence.
  public var description: String {
    switch self {
    case .missing: "is missing"
    case .unreadable(let error): "cannot be read (\(error))"
    case .headerSize(let size): "has a header of impossible size (\(size) bytes)"
    case .headerChecksum: "has a header with a wrong checksum"
    case .misplaced(let sector): "says that it belongs at sector \(sector)"
    case .absurdList(let count, let size): "has an impossible list of partitions (\(count) of \(size) bytes)"
    case .listOutOfRange: "has its list of partitions beyond the end of the image"
    case .unreadableList(let error): "has a list of partitions that cannot be read (\(error))"
    case .listChecksum: "has a list of partitions with a wrong checksum"
    }
  }
}
