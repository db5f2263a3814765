// Arithmetic on sizes and offsets that come from a user or from the kernel.

@testable import CopyOnWrite
@testable import Images

/// The three parts are the range, the middle one in whole blocks, and the others are less than a block.
func fuzzGeometry(_ input: inout Input) {
  let geometry = Geometry(blockShift: UInt64(input.byte() % 22))
  let most = UInt64(Int64.max) - geometry.blockSize
  let size = input.number() % most
  let start = input.number() % (size + 1)
  let range = start..<start + input.number() % (size - start + 1)
  let parts = geometry.split(range, diskSize: size)
  let body = geometry.bytes(of: parts.body)
  if parts.body.isEmpty {
    require(parts.head.upperBound == parts.tail.lowerBound, "\(range) of \(size): \(parts)")
  } else {
    require(parts.head.upperBound == body.lowerBound, "\(range) of \(size): \(parts)")
    require(min(body.upperBound, size) == parts.tail.lowerBound, "\(range) of \(size): \(parts)")
  }
  require(parts.head.lowerBound == range.lowerBound && parts.tail.upperBound == range.upperBound, "\(range): \(parts)")
  for part in [parts.head, parts.tail] {
    require(UInt64(part.count) < geometry.blockSize || parts.body.isEmpty && range == part, "\(range): \(parts)")
    require(geometry.blocks(touchedBy: part).count <= 1, "\(range) of \(size): \(parts)")
  }
  require(geometry.roundedUp(size) >= size && geometry.roundedUp(size) - size < geometry.blockSize, "\(size)")
}

/// A window that was taken lies within its base, and has a size that a file can have.
func fuzzWindow(_ input: inout Input) {
  let present = input.byte()
  let base = input.number()
  var shape = WindowShape()
  shape.offset = input.number()
  shape.length = present & 1 == 0 ? nil : input.number()
  shape.size = present & 2 == 0 ? nil : input.number()
  shape.roundUp = present & 4 == 0 ? nil : input.number()
  shape.roundDown = present & 8 == 0 ? nil : input.number()
  guard let window = try? shape.resolved(over: base, of: "base") else { return }
  require(window.bytes.upperBound <= base && window.size <= UInt64(Int64.max), "\(shape) over \(base): \(window)")
  if let unit = shape.roundDown, unit > 0 { require(window.size % unit == 0, "\(shape) over \(base): \(window)") }
}
