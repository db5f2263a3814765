// Which block has a byte.

import Testing

@testable import CompressedImages

@Suite struct BlockTableTests {
  @Test func `every byte is found in its block`() {
    let sizes: [UInt64] = [1, 7, 0, 3, 0, 0, 16, 1, 0]
    var table = BlockTable()
    for (index, size) in sizes.enumerated() {
      let isAdded = table.append(count: size, place: UInt64(index), length: 5, detail: UInt64(index) * 2)
      #expect(isAdded)
    }
    #expect(table.size == 28)
    #expect(table.largest == 16)
    #expect(table.count == 5)
    var offset: UInt64 = 0
    var number = 0
    for (index, size) in sizes.enumerated() where size > 0 {
      for byte in offset..<offset + size {
        let block = table.block(at: byte)
        #expect(
          block
            == BlockTable.Block(
              number: number, start: offset, count: size, place: UInt64(index), length: 5, detail: UInt64(index) * 2))
      }
      offset += size
      number += 1
    }
  }

  @Test func `more bytes than a file can have are not taken`() {
    var table = BlockTable()
    let counts = [UInt64(Int64.max), 1, .max, 0]
    let added = counts.map { table.append(count: $0, place: 0, length: 0) }
    #expect(added == [true, false, false, true])
    #expect(table.size == UInt64(Int64.max))
    #expect(table.count == 1)
  }
}
