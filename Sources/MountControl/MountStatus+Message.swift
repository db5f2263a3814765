// A status as it is sent.

extension MountStatus: MessageValue {
  private static let mostWarnings = 8
  private static let longestWarning = 512

  init(from message: inout MessageReader) throws(MalformedMessage) {
    process = try message.number()
    age = try message.number()
    size = try message.number()
    isReadOnly = try message.flag()
    threads = try message.number()
    base = try Base(from: &message)
    overlay = try Overlay(from: &message)
    requests = try message.list(limit: Requests.Verb.allCases.count) { (message) throws(MalformedMessage) in
      try Requests(from: &message)
    }
    errors = try message.number()
    lastError = try message.optional { (message) throws(MalformedMessage) in try message.text() }
    warnings = try message.list(limit: Self.mostWarnings) { (message) throws(MalformedMessage) in try message.text() }
    guard size <= Int64.max else { throw MalformedMessage() }
  }

  func add(to message: inout MessageWriter) {
    message.add(process)
    message.add(age)
    message.add(size)
    message.add(isReadOnly)
    message.add(threads)
    message.add(base)
    message.add(overlay)
    message.add(requests, limit: Requests.Verb.allCases.count) { $0.add($1) }
    message.add(errors)
    message.add(lastError) { $0.add($1, limit: Self.longestWarning) }
    message.add(warnings, limit: Self.mostWarnings) { $0.add($1, limit: Self.longestWarning) }
  }
}

extension MountStatus.Base: MessageValue {
  private static let longestFormat = 64

  init(from message: inout MessageReader) throws(MalformedMessage) {
    source = try message.text()
    format = try message.text()
    size = try message.number()
    part = try message.optional { (message) throws(MalformedMessage) in
      let start: UInt64 = try message.number()
      let end: UInt64 = try message.number()
      guard start <= end else { throw MalformedMessage() }
      return start..<end
    }
    partition = try message.optional { (message) throws(MalformedMessage) in try message.number() }
    lock = try Lock(from: &message)
    reads = try message.number()
    readBytes = try message.number()
  }

  func add(to message: inout MessageWriter) {
    message.add(source)
    message.add(format, limit: Self.longestFormat)
    message.add(size)
    message.add(part) { message, part in
      message.add(part.lowerBound)
      message.add(part.upperBound)
    }
    message.add(partition) { $0.add($1) }
    message.add(lock)
    message.add(reads)
    message.add(readBytes)
  }
}

extension MountStatus.Overlay: MessageValue {
  init(from message: inout MessageReader) throws(MalformedMessage) {
    directory = try message.optional { (message) throws(MalformedMessage) in try message.text() }
    blockSize = try message.number()
    written = try message.number()
    copied = try message.number()
    used = try message.number()
    limit = try message.optional { (message) throws(MalformedMessage) in try message.number() }
    left = try message.number()
  }

  func add(to message: inout MessageWriter) {
    message.add(directory) { $0.add($1) }
    message.add(blockSize)
    message.add(written)
    message.add(copied)
    message.add(used)
    message.add(limit)
    message.add(left)
  }
}

extension MountStatus.Requests: MessageValue {
  init(from message: inout MessageReader) throws(MalformedMessage) {
    verb = try Verb(from: &message)
    count = try message.number()
    bytes = try message.number()
  }

  func add(to message: inout MessageWriter) {
    message.add(verb)
    message.add(count)
    message.add(bytes)
  }
}
