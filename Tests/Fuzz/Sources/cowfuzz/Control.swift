// What goes through the ioctl: requests from any user who can open the file, and answers from a server that somebody may
// have taken over.

@testable import MountControl

/// A request that was taken is sent as it was understood, and an answer that was taken can be sent on and steers no terminal.
func fuzzControl(_ input: inout Input) {
  let bytes = input.bytes()
  if let request = try? ControlRequest(bytes) {
    require((try? ControlRequest(request.bytes)) == request, "\(request) became something else")
  }
  guard let message = ControlMessage(bytes, .answer), let answer = try? ControlAnswer(message) else { return }
  require(answer.bytes.count <= ControlMessage.size, "\(answer) does not fit")
  guard case .status(let status) = answer else { return }
  for text in [status.base.source, status.lastError ?? ""] + status.warnings {
    require(text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }, "not printable: \(text)")
  }
}
