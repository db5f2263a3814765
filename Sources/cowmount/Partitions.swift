// cowmount partitions: what --partition can choose from.

internal import ArgumentParser
internal import CopyOnWrite
internal import DiskIO
internal import Images
internal import MountedDisk
internal import PartitionTables

struct Partitions: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the partitions of a disk image.",
    usage: "cowmount partitions [<options>] <image>",
    discussion: """
      The numbers are what `cowmount --partition` takes. An asterisk marks the partition to boot from. The image is \
      only read.
      """)

  @Argument(help: "The image: a regular file, a block device, or the URI of an NBD server's export.")
  var image: String

  @Flag(name: .long, help: "Print JSON.")
  var json = false

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Sectors that the partition table counts in, 512 or 4096. (default: what makes sense of it)", valueName: "size"))
  var sectorSize: ByteSize?

  @OptionGroup(title: "Formats")
  var source: SourceOptions

  mutating func validate() throws {
    try WindowOptions.check(sectorSize: sectorSize)
  }

  func run() throws {
    try source.check(image)
    Log.start(toSystem: false, verbose: false)
    var settings = source.settings(image)
    // Only looking: a table that a running machine has on its disk is as good as another.
    settings.sharesWithWriters = true
    try ImageLook.run(settings, work: show)
  }

  private func show(_ image: any Image) throws {
    let table = try image.inPartitionTable(sectorSize: sectorSize?.bytes) { $0 }
    if json {
      print(Self.json(table, of: image).text)
    } else {
      let head = "\(self.image): \(Self.summary(table)), \(image.size) bytes (\(humanSize(image.size)))"
      for line in [head.printable] + Self.lines(table) { print(line) }
      for note in table.notes { Console.complain("\(self.image): \(note)") }
    }
  }

  private static func summary(_ table: PartitionTable) -> String {
    let identifier = table.kind == .mbr ? "0x" + table.identifier : table.identifier
    return "\(table.kind.rawValue.uppercased()) \(identifier), sectors of \(table.sectorSize) bytes"
  }

  /// The table in columns.
  private static func lines(_ table: PartitionTable) -> [String] {
    let head = ["NUMBER", "START", "SIZE", "HUMAN", "BOOT", "TYPE", "NAME"]
    let rows = table.partitions.map { partition in
      [
        String(partition.number), String(partition.bytes.lowerBound), String(partition.size),
        humanSize(partition.size), partition.isBootable ? "*" : "", partition.type.name ?? partition.type.code,
        partition.name,
      ]
    }
    return TextTable.lines(head, rows, rightAligned: [0, 1, 2, 3])
  }

  private static func json(_ table: PartitionTable, of image: any Image) -> JSON {
    .object([
      ("image", .string(image.source)),
      ("size", .number(image.size)),
      ("table", .string(table.kind.rawValue)),
      ("identifier", .string(table.identifier)),
      ("sectorSize", .number(table.sectorSize)),
      ("notes", .array(table.notes.map { .string($0) })),
      ("partitions", .array(table.partitions.map(json))),
    ])
  }

  private static func json(_ partition: Partition) -> JSON {
    .object([
      ("number", .number(UInt64(partition.number))),
      ("start", .number(partition.bytes.lowerBound)),
      ("size", .number(partition.size)),
      ("type", .string(partition.type.code)),
      ("typeName", partition.type.name.map { .string($0) } ?? .null),
      ("name", .string(partition.name)),
      ("uuid", .string(partition.uuid)),
      ("boot", .bool(partition.isBootable)),
      ("container", .bool(partition.isContainer)),
    ])
  }
}

extension Partition {
  /// Bytes of it.
  fileprivate var size: UInt64 { bytes.upperBound - bytes.lowerBound }
}
