// Serving a virtual disk by qemu-nbd, and the rule that keeps an image from making the host open other files.
//
// A virtual machine can write whatever it likes to its raw disk, also the header of a format in which an image names
// others: a backing file, a data file, extents, anywhere on the host. So what a file looks like is not enough to follow
// such names; the user has to say that it is of that format (`--format`). Where the format was only told from the bytes:
//
// - The header must name no other file (VirtualDiskHeader).
// - qemu-nbd gets the file that was looked at, as an open descriptor, and not a path.
// - It is told to use no backing file, whatever the header says by the time it reads it.
// - The kernel lets it open that file, its libraries, and nothing else (CLinux/Confinement.h). Where it has no Landlock:
// - When it has opened all that it opens, and before anybody reads through it, no other file may be open in it. That holds
//   for all formats and whatever else a header can name.
//
// Where the format was given, the image is opened by its path, since other files are found from there; as QEMU does it, from
// the directory of a symbolic link, and not of what it leads to.

internal import DiskIO
internal import Glibc
public import Images
internal import SystemPackage

extension VirtualDiskFormat {
  /// How a virtual disk is opened.
  public struct Options: Sendable {
    /// Whether the user named the format, and so allows the files that the image names.
    public var isForced = false
    /// Whether to use images that another program has open for writing.
    public var sharesWithWriters = false
    /// Whether to leave nothing of the image in the page cache.
    public var avoidsCache = false
    /// Creates options with their defaults.
    public init() {}
  }

  /// Looks at the header of a file of this format, before qemu-nbd gets it.
  ///
  /// - Parameters:
  ///   - isForced: whether the user named the format, and so allows the files that the image names.
  ///   - report: called with a line of text for what the user should know.
  /// - Throws: ``VirtualDiskError`` that names the file and what is wrong with it.
  public func inspect(_ file: RawImage, isForced: Bool, report: (String) -> Void) throws(VirtualDiskError) {
    let header: VirtualDiskHeader
    do throws(VirtualDiskFault) {
      header = try VirtualDiskHeader(of: file, as: self)
    } catch {
      throw VirtualDiskError(path: file.source, format: self, problem: .fault(error))
    }
    if !isForced, let reference = header.reference {
      throw VirtualDiskError(path: file.source, format: self, problem: .untrusted(reference))
    }
    if header.snapshots > 0 {
      report("\(file.source): its \(header.snapshots) internal snapshots are not shown, only its current state")
    }
  }

  /// Starts a qemu-nbd that serves the disk in a file of this format, without having looked at a byte of it.
  ///
  /// - Throws: ``VirtualDiskError`` that names the file and what is wrong.
  public func start(_ file: RawImage, options: Options) throws(VirtualDiskError) -> StartedServer {
    guard let command = ServerCommand(Self.words(for: file, self, options)) else { preconditionFailure("it has words") }
    guard let program = try? command.file() else {
      throw VirtualDiskError(path: file.source, format: self, problem: .noServer)
    }
    do throws(ServerCommandError) {
      return try StartedServer(
        command, file: program, of: .init(file: file, format: self, followsNames: options.isForced))
    } catch {
      let why = options.isForced ? VirtualDiskError.Problem.server(error) : .confinedServer(error)
      throw VirtualDiskError(path: file.source, format: self, problem: why)
    }
  }

  // MARK: The command

  /// The arguments of qemu-nbd.
  private static func words(for file: RawImage, _ format: VirtualDiskFormat, _ options: Options) -> [String] {
    let path = options.isForced ? file.namedPath : ServerProcess.imagePath
    let protocolDriver = file.status.kind == .blockDevice ? "host_device" : "file"
    var members = [#""driver": "\#(format.driver)""#]
    if !options.isForced { members.append(#""backing": null"#) }
    if options.sharesWithWriters { members.append(#""force-share": true"#) }
    members.append(#""file": {"driver": "\#(protocolDriver)", "filename": \#(quoted(path))}"#)
    // It outlives its last client, or a lost connection would end it, and takes more than may come.
    return [
      "qemu-nbd", "--read-only", "--persistent", "--shared=128",
      "--cache=\(options.avoidsCache ? "none" : "writeback")",
      "--aio=threads",
      "json:{" + members.joined(separator: ", ") + "}",
    ]
  }

  /// A JSON string.
  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": quoted += "\\\(scalar)"
      case _ where scalar.value < 0x20: quoted += "\\u00" + UInt8(scalar.value).hexadecimal
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }

  // MARK: The check

  /// Sees to it that a process has no file or block device open but one.
  static func check(_ process: pid_t?, hasOnly file: RawImage) throws(VirtualDiskError.Problem) {
    guard let process else { throw .notChecked(.noSuchProcess) }
    var image = stat()
    guard fstat(file.descriptor, &image) == 0 else { throw .notChecked(.current) }
    let descriptors = "/proc/\(process)/fd"
    guard let directory = opendir(descriptors) else { throw .notChecked(.current) }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      guard name.first?.isNumber ?? false else { continue }
      var open = stat()
      // It may have been closed by now: connections are.
      guard stat("\(descriptors)/\(name)", &open) == 0 else {
        if errno == ENOENT { continue }
        throw .notChecked(.current)
      }
      guard [S_IFREG, S_IFBLK].contains(open.st_mode & S_IFMT) else { continue }
      if open.st_dev != image.st_dev || open.st_ino != image.st_ino {
        throw .opened((try? FilePath("\(descriptors)/\(name)").resolved().string.printable) ?? name)
      }
    }
  }
}
