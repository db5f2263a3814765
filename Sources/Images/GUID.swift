// GUIDs, which GPTs and Microsoft's virtual disks name things by.

/// A GUID as both have it: the first three of its groups are little-endian.
package struct GUID: Equatable {
  private let bytes: [UInt8]

  /// Takes 16 bytes.
  package init(_ bytes: some RandomAccessCollection<UInt8>) {
    precondition(bytes.count == 16)
    self.bytes = Array(bytes)
  }

  /// All zeros: no partition.
  package var isZero: Bool { bytes.allSatisfy { $0 == 0 } }

  /// As it is written: upper case, with hyphens.
  package var text: String {
    let order = [3, 2, 1, 0, -1, 5, 4, -1, 7, 6, -1, 8, 9, -1, 10, 11, 12, 13, 14, 15]
    return order.map { $0 < 0 ? "-" : bytes[$0].hexadecimal }.joined()
  }
}
