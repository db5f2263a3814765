// NBD: URIs that a user writes, and what a server says of names and of extents.

internal import CopyOnWrite

@testable import NbdImages

/// A URI with absolute paths stays as it is. Whatever an export is called, its file has a name.
func fuzzNbdNames(_ input: inout Input) {
  let directory = "/" + String(decoding: input.bytes(Int(input.byte() % 16)).filter { $0 != 0 }, as: UTF8.self)
  // From the command line and from libnbd come C strings.
  let text = String(decoding: input.bytes().filter { $0 != 0 }, as: UTF8.self)
  if let uri = NbdURI(text, in: directory) {
    let again = NbdURI(uri.text, in: "/elsewhere")
    require(again == uri, "\(uri.text) became \(again?.text ?? "")")
    _ = uri.wantsTLS
  }
  let name = NbdURI.fileName(ofExport: text)
  require((1...255).contains(name.utf8.count) && name != "." && name != "..", "'\(text)' is in the file '\(name)'")
  require(!name.utf8.contains(UInt8(ascii: "/")), "'\(text)' is in the file '\(name)'")
}

/// What was told first of a byte is remembered, and of no byte more than was told.
func fuzzNbdExtents(_ input: inout Input) {
  let limit = UInt64(input.byte()) + 1
  var map = NbdExtentMap()
  var model = [Bool?](repeating: nil, count: Int(limit))
  while !input.isEmpty {
    let start = UInt64(input.byte()) % limit
    let collector = NbdExtentCollector(from: start, limit: limit)
    for _ in 0..<input.byte() % 4 {
      // As a server puts it: lengths and flags, and an odd one at times.
      let numbers = (0..<input.byte() % 8).map { _ in UInt32(input.number(1 + Int(input.byte() & 3))) }
      collector.take(numbers)
    }
    var end = start
    for run in collector.runs {
      require(run.end > end && run.end <= limit, "\(collector.runs) from \(start) to \(limit)")
      for place in end..<run.end { model[Int(place)] = model[Int(place)] ?? run.isData }
      end = run.end
    }
    map.add(collector.runs, from: start)
  }
  for place in 0..<limit {
    guard let extent = map.extent(at: place) else {
      require(model[Int(place)] == nil, "nothing is known of \(place), which is \(model[Int(place)] ?? false)")
      continue
    }
    require(extent.end > place && extent.end <= limit, "\(place): \(extent)")
    require(model[Int(place)..<Int(extent.end)].allSatisfy { $0 == extent.isData }, "\(place): \(extent)")
  }
}
