// A raw disk image: a regular file or a block device, byte for byte.

public import CopyOnWrite
public import DiskIO
public import SystemPackage

/// The bytes of a regular file or of a block device, opened read-only and once.
public final class RawImage: Image {
  private let file: File
  /// For reading past the page cache, where that is wanted and possible.
  private let direct: DirectFile?
  /// Whether those who write to it are locked out; not where its file system has no locks.
  public let isLocked: Bool
  /// Whether the file may have holes; where it has none, extents need no system call.
  private let mayHaveHoles: Bool

  /// Size of the image in bytes, as it was when the image was opened.
  public let size: UInt64

  /// Absolute path of the image, symbolic links followed.
  public let source: String

  /// The image's own name, as the user wrote it.
  public let name: String?

  /// Absolute path of the image as the user named it: where that is a symbolic link, the link's.
  public let namedPath: String

  /// What the file system told of the image when it was opened.
  public let status: FileStatus

  /// What the file and the directories on its path say of who may read it.
  public let access: ImageAccess

  /// Opens the image at `path`, symbolic links followed, and locks it against writers (ImageLock.swift); those that heed
  /// no lock are looked for (ImageWriter.swift).
  ///
  /// - Parameters:
  ///   - path: the image.
  ///   - sharesWithWriters: whether to use an image that another program, or the kernel, may write to.
  ///   - avoidsCache: whether to leave no bytes of it in the page cache, where the file system can do that.
  /// - Throws: ``ImageError`` that names the image and what is wrong with it.
  public init(
    path: FilePath, sharesWithWriters: Bool = false, avoidsCache: Bool = false
  ) throws(ImageError) {
    do {
      let file = try File.openReadOnly(path)
      let status = try file.status()
      let size: UInt64
      switch status.kind {
      case .regular: size = status.size
      case .blockDevice: size = try file.blockDeviceSize()
      case .directory: throw ImageError.directory(path)
      case .other, .symbolicLink: throw ImageError.notAnImage(path)
      }
      let resolved = try path.resolved()
      source = resolved.carrier
      access = try ImageAccess(of: file, status, at: resolved)
      name = path.lastComponent.map { FilePath(root: nil, [$0]).carrier }
      namedPath = try path.resolvingParent().carrier
      self.status = status
      self.size = size
      mayHaveHoles = status.kind == .regular && size > 0 && ((try? file.nextHole(from: 0)) ?? size) < size
      // A file system without such locks has no QEMU that holds one.
      let isFree = try? file.lockForReading()
      isLocked = isFree == true
      guard isFree ?? true || sharesWithWriters else { throw ImageError.inUse(path) }
      if !sharesWithWriters, let writer = ImageWriter.of(file, at: resolved) {
        throw ImageError.written(path, by: writer)
      }
      direct = avoidsCache ? DirectFile(file) : nil
      self.file = file
    } catch let error as ImageError {
      throw error
    } catch let error as Errno {
      throw ImageError.unusable(path, error)
    } catch {
      preconditionFailure("nothing else is thrown: \(error)")
    }
  }

  /// The open file, for others to inherit. It stays owned by this object.
  public var descriptor: CInt { file.descriptor }

  /// All that is needed to read the image.
  public var descriptors: [CInt] {
    switch direct {
    case .none: [file.descriptor]
    case .some(let direct): [file.descriptor, direct.descriptor]
    }
  }

  /// Bytes of the image that are data, in units of 512 bytes: never less than there are.
  public var dataSectors: UInt64 {
    let all = (size + 511) / 512
    // A file with inline data may claim to have no sectors.
    return mayHaveHoles ? min(all, max(status.sectors, 8)) : all
  }

  /// None: it is read where it is.
  public var scratchBytes: UInt64 { 0 }

  /// What is different from when the image was opened, in words, or nil where nothing is.
  ///
  /// A block device tells of nothing but its size.
  public func change() -> String? {
    guard let now = try? file.status() else { return nil }
    if status.kind == .blockDevice {
      let newSize = (try? file.blockDeviceSize()) ?? size
      return newSize == size ? nil : "its size was \(size) bytes and is \(newSize)"
    }
    if now.size != size { return "its size was \(size) bytes and is \(now.size)" }
    if now.modified != status.modified { return "it was written to" }
    if now.changed != status.changed { return "its metadata was changed" }
    return nil
  }

  /// No: what reads wait for is this machine.
  public var isRemote: Bool { false }

  /// No: what cannot be read will not be readable later.
  public var isAway: Bool { false }

  /// Nothing: reads never wait for long.
  public func prepareToEnd() {}

  /// Reads bytes; a file that shrank since it was opened is `.ioError`, not zeros.
  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(Errno) {
    switch direct {
    case .none: try file.readFully(into: buffer, at: offset)
    case .some(let direct):
      do {
        try direct.readFully(into: buffer, at: offset)
      } catch .invalidArgument {
        // The device wants more than it says.
        try file.readFully(into: buffer, at: offset)
      }
    }
  }

  /// Whether reads leave nothing in the page cache.
  public var avoidsCache: Bool {
    switch direct {
    case .none: false
    case .some: true
    }
  }

  /// What the file system says of holes (SEEK_DATA, SEEK_HOLE).
  public func extent(at offset: UInt64) throws(Errno) -> Extent {
    guard mayHaveHoles else { return Extent(isData: true, end: size) }
    // What lies beyond the end of a file that shrank is no hole: reading it fails, and must.
    let end = min(size, try file.status().size)
    guard offset < end else { return Extent(isData: true, end: size) }
    guard let data = try file.nextData(from: offset), data < end else { return Extent(isData: false, end: end) }
    if data > offset { return Extent(isData: false, end: data) }
    return Extent(isData: true, end: min(size, try file.nextHole(from: offset)))
  }
}
