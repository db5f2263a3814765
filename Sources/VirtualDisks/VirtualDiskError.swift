// Why a virtual disk cannot be used as an image, in the words that the user reads.

internal import SystemPackage

/// A virtual disk that cannot be used as a base.
public struct VirtualDiskError: Error, Equatable, CustomStringConvertible {
  /// What is wrong.
  enum Problem: Error, Equatable {
    /// Something in the file.
    case fault(VirtualDiskFault)
    /// Only the file's own bytes say that it is of this format, and they ask for another file.
    case untrusted(VirtualDiskHeader.Reference)
    /// qemu-nbd has this file open, which is not the image.
    case opened(String)
    /// What qemu-nbd has open cannot be looked at.
    case notChecked(Errno)
    /// There is no qemu-nbd.
    case noServer
    /// qemu-nbd does not serve it.
    case server(ServerCommandError)
    /// qemu-nbd, which may open nothing but the image, does not serve it.
    case confinedServer(ServerCommandError)
  }

  let path: String
  let format: VirtualDiskFormat
  let problem: Problem

  /// What is wrong with an image that holds only what is different from another.
  static let differencing = "it is a differencing disk, which needs its parent, and QEMU reads none of this format"

  /// One line that names the image and the way out.
  public var description: String {
    switch problem {
    case .fault(let fault): describe(fault)
    case .untrusted(let reference):
      """
      \(path) looks like a \(format) image and names \(reference.kind)\(quoted(reference.name)); whoever writes to a raw \
      disk can make it do that, so pass --format \(format) to have that read, or --format raw to use the bytes as they are
      """
    case .opened(let other):
      """
      \(path): qemu-nbd opened another file for it, \(other); pass --format \(format) to have that read, or --format raw \
      to use the image as it is
      """
    case .notChecked(let error):
      "\(path): cannot see what qemu-nbd has opened for it: \(error); pass --format \(format) to do without"
    case .noServer:
      """
      \(path) is a \(format) image, and qemu-nbd, which reads it, is not here; install the package qemu-utils (elsewhere \
      qemu-img), or pass --format raw to use the file as it is
      """
    case .server(let error): "\(path): \(describe(error))"
    case .confinedServer(let error): "\(path): \(describe(error))\(Self.isRefused(error) ? advice : "")"
    }
  }

  /// Whether qemu-nbd was not let to open something.
  private static func isRefused(_ error: ServerCommandError) -> Bool {
    guard case .ended(_, let said) = error.problem else { return false }
    return said.contains { $0.contains("Permission denied") }
  }

  private var advice: String {
    "; pass --format \(format) to have other files read that it names, or --format raw to use the image as it is"
  }

  private func quoted(_ name: String) -> String { name.isEmpty ? "" : " ('\(name)')" }

  private func describe(_ fault: VirtualDiskFault) -> String {
    switch fault {
    case .otherFormat:
      "\(path) is no \(format) image; leave out --format \(format), or pass --format raw to use the file as it is"
    case .cutOff(let why), .nonsense(let why):
      """
      \(path) is damaged or cut off: \(why); get it again, check it with `qemu-img check -f \(format.driver)`, or pass \
      --format raw to use the file as it is
      """
    case .encrypted:
      """
      \(path) is encrypted; give a command with the key in place of the image: [ qemu-nbd --object secret,… \
      --image-opts … ], or decrypt it with `qemu-img convert`
      """
    case .unsupported(let what):
      "\(path) cannot be read: \(what); make a whole image of it with `qemu-img convert` or the program that made it"
    case .unreadable(let error): "cannot read the image \(path): \(error)"
    }
  }

  /// What qemu-nbd says begins with all that it was told on its command line.
  private func describe(_ error: ServerCommandError) -> String {
    guard case .ended(let end, let said) = error.problem, !said.isEmpty else { return error.description }
    let words = said.suffix(2).map { line in
      let line = line.hasPrefix("qemu-nbd: ") ? String(line.dropFirst("qemu-nbd: ".count)) : line
      let ending = line.firstRange(of: "}': ").map { String(line[$0.upperBound...]) } ?? line
      return ending.replacing(ServerProcess.imagePath, with: path)
    }
    return "\(error.name) \(end): " + words.joined(separator: "; ")
  }
}
