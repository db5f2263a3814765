// The programs that make and read partition tables: sfdisk, fdisk, sgdisk, parted and partx, run on plain files.

import Glibc
import SystemPackage
import TestSupport

@testable import PartitionTables

extension Tool {
  /// Gives `body` the path of a file of zeros, which is gone afterwards.
  static func withFile(size: String = "64M", _ body: (String) throws -> Void) throws {
    let directory = try TemporaryDirectory()
    let path = directory.image.string
    try run("truncate -s \(size) '\(path)'")
    try withExtendedLifetime(directory) { try body(path) }
  }

  /// A partition as a tool lists it.
  struct Row: Equatable, CustomStringConvertible {
    var number: Int
    var start: UInt64
    var size: UInt64
    var type: String
    var isBootable: Bool
    var uuid: String
    var name: String
    var description: String { "\(number): \(start)+\(size) \(type)\(isBootable ? " boot" : "") \(uuid) '\(name)'" }
  }

  /// What `sfdisk --dump` says, in bytes.
  static func sfdisk(_ path: String) throws -> [Row] {
    let isGuid = try run("sfdisk --dump '\(path)'").contains("label: gpt")
    return try run("sfdisk --dump '\(path)'").split(separator: "\n").filter { $0.hasPrefix(path) }.map { line in
      func value(_ key: String) -> String? {
        guard let start = line.range(of: key + "=")?.upperBound else { return nil }
        let rest = line[start...].drop { $0 == " " }
        return rest.hasPrefix("\"")
          ? unescape(rest.dropFirst().prefix { $0 != "\"" }) : String(rest.prefix { $0 != "," })
      }
      let type = value("type") ?? ""
      return Row(
        // Behind a path that ends with a digit, a `p` comes first.
        number: Int(line.dropFirst(path.count).drop { $0 == "p" }.prefix { $0.isNumber }) ?? 0,
        start: (UInt64(value("start") ?? "") ?? 0) * 512, size: (UInt64(value("size") ?? "") ?? 0) * 512,
        type: isGuid ? type : "0x" + (type.count == 1 ? "0" + type : type),
        isBootable: line.contains("bootable") || (value("attrs") ?? "").contains("LegacyBIOSBootable"),
        uuid: (value("uuid") ?? "").lowercased(), name: value("name") ?? "")
    }
  }

  /// Bytes that are not ASCII are written as \xNN.
  private static func unescape(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"),
        let code = UInt8(String(decoding: rest.dropFirst().prefix(2), as: UTF8.self), radix: 16)
      {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// What libblkid, by which udev names partitions, makes of a table: in units of 512 bytes, whatever the sectors are.
  static func partx(_ path: String, sectorSize: Int = 512) throws -> [String] {
    try run("partx --sector-size \(sectorSize) --raw --noheadings --output NR,START,SECTORS,TYPE,UUID '\(path)'")
      .split(separator: "\n").map(String.init)
  }

  /// Numbers and places that `parted` prints.
  static func parted(_ path: String, sectorSize: Int = 512) throws -> [[UInt64]] {
    try run("PARTED_SECTOR_SIZE=\(sectorSize) parted --script --machine '\(path)' unit B print")
      .split(separator: "\n").compactMap { line in
        let fields = line.split(separator: ":")
        guard let number = UInt64(fields[0]) else { return nil }
        return [number] + fields[1...3].map { UInt64($0.dropLast()) ?? 0 }
      }
  }
}

extension String {
  fileprivate func range(of text: String) -> Range<Index>? { self[...].range(of: text) }
}

extension Substring {
  fileprivate func range(of text: String) -> Range<Index>? {
    indices.first { self[$0...].hasPrefix(text) }.map { $0..<index($0, offsetBy: text.count) }
  }
}

extension PartitionTable {
  /// As ``Tool/sfdisk(_:)`` lists them.
  var rows: [Tool.Row] {
    partitions.map {
      Tool.Row(
        number: $0.number, start: $0.bytes.lowerBound, size: $0.bytes.upperBound - $0.bytes.lowerBound,
        type: $0.type.code, isBootable: $0.isBootable, uuid: kind == .gpt ? $0.uuid : "", name: $0.name)
    }
  }

  /// As ``Tool/partx(_:sectorSize:)`` prints them.
  var raw: [String] {
    rows.enumerated().map { index, row in
      let type =
        kind == .gpt ? row.type.lowercased() : "0x" + String(Int(row.type.dropFirst(2), radix: 16) ?? 0, radix: 16)
      return "\(row.number) \(row.start / 512) \(row.size / 512) \(type) \(partitions[index].uuid)"
    }
  }

  /// As ``Tool/parted(_:sectorSize:)`` prints them: number, first byte, last byte, size.
  var places: [[UInt64]] {
    partitions.map {
      [
        UInt64($0.number), $0.bytes.lowerBound, $0.bytes.upperBound - 1, $0.bytes.upperBound - $0.bytes.lowerBound,
      ]
    }
  }
}
