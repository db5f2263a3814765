// The options that show a part of an image, or make it larger or smaller.

internal import ArgumentParser
internal import MountedDisk
internal import Images
internal import PartitionTables

struct WindowOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Show this partition alone: MBR (5 and up are logical) or GPT. cowmount partitions lists them.", valueName: "n"))
  var partition: Int?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Sectors that the partition table counts in, 512 or 4096. (default: what makes sense of it)", valueName: "size"))
  var sectorSize: ByteSize?

  @Option(name: .long, help: ArgumentHelp("Leave out this much of the image's beginning.", valueName: "n"))
  var offset: ByteSize?

  @Option(
    name: .long,
    help: ArgumentHelp("Show this much of the image. (default: all that follows --offset)", valueName: "n"))
  var length: ByteSize?

  @Option(
    name: .long,
    help: ArgumentHelp(
      "The size of the writable file: larger, and the tail is zeros; smaller, and the rest is cut off.",
      valueName: "size"))
  var size: ByteSize?

  @Option(name: .long, help: ArgumentHelp("Round the size up to a multiple of this.", valueName: "n"))
  var roundUp: ByteSize?

  @Option(name: .long, help: ArgumentHelp("Round the size down to a multiple of this.", valueName: "n"))
  var roundDown: ByteSize?

  /// Checks what the options are together.
  func validate() throws {
    if let partition, partition < 1 {
      throw ValidationError("--partition \(partition) must be a number from 1 on")
    }
    if partition != nil, offset != nil || length != nil {
      throw ValidationError("--partition and --\(offset != nil ? "offset" : "length") exclude each other: give one")
    }
    if partition == nil, sectorSize != nil {
      throw ValidationError("--sector-size has a meaning with --partition only")
    }
    try Self.check(sectorSize: sectorSize)
    for (name, step) in [("--round-up", roundUp), ("--round-down", roundDown)] {
      if let step, step.bytes == 0 { throw ValidationError("\(name) 0 must be 1 or more") }
    }
  }

  static func check(sectorSize: ByteSize?) throws {
    if let sectorSize, !PartitionTable.sectorSizes.contains(sectorSize.bytes) {
      throw ValidationError("--sector-size \(sectorSize.bytes) must be 512 or 4096")
    }
  }

  /// What the options come to.
  var settings: WindowSettings {
    var settings = WindowSettings()
    settings.shape.offset = offset?.bytes ?? 0
    settings.shape.length = length?.bytes
    settings.shape.size = size?.bytes
    settings.shape.roundUp = roundUp?.bytes
    settings.shape.roundDown = roundDown?.bytes
    settings.partition = partition
    settings.sectorSize = sectorSize?.bytes
    return settings
  }
}
