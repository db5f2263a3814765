// An image from the two sides of the border between rights and bytes: the keeper opens files and starts servers, and looks at
// no byte; the process without rights finds out what it has got, and reads.

internal import CLinux
internal import CopyOnWrite
internal import DiskIO
internal import Glibc
internal import Images
internal import Logging
internal import NbdImages
internal import SystemPackage
internal import VirtualDisks

/// What is open of an image.
enum HeldSource {
  case file(RawImage)
  case server(NbdURI)
  case started(StartedServer)
  /// A file that this process has closed: the one that reads it has it open.
  case handedOver

  // MARK: With rights

  /// Opens what needs rights.
  init(_ settings: SourceSettings) throws {
    switch settings.location {
    case .command(let command): self = .started(try StartedServer(command))
    case .server(let uri): self = .server(uri)
    case .file(let path):
      let file = try RawImage(
        path: path, sharesWithWriters: settings.sharesWithWriters, avoidsCache: settings.avoidsCache)
      if settings.avoidsCache, !file.avoidsCache {
        let logger = Logger(label: "cowmount")
        logger.warning("\(file.source): its file system has no direct reads, so --base-cache none does nothing")
      }
      // Also what the user says is a virtual disk: the process without rights looks at its header before qemu-nbd does.
      self = .file(file)
    }
  }

  /// What messages and the mount table call it.
  func name(_ settings: SourceSettings) -> String {
    switch (self, settings.location) {
    case (.file(let file), _): file.source
    case (.server(let uri), _): uri.text
    case (.started, .command(let command)): command.name
    case (.started, .file(let path)): path.string
    case (.started, .server(let uri)): uri.text
    case (.handedOver, _): ""
    }
  }

  /// Descriptors that reading needs.
  var descriptors: [CInt] {
    switch self {
    case .file(let file): file.descriptors
    case .server, .handedOver: []
    case .started(let server): server.readerDescriptors
    }
  }

  /// What the process that reads it may still do.
  var confinement: Confinement {
    switch self {
    case .file, .handedOver: Confinement(role: CLINUX_ROLE_SERVER)
    case .started: Confinement(role: CLINUX_ROLE_NBD_CLIENT)
    case .server(let uri):
      Confinement(role: CLINUX_ROLE_NETWORK_CLIENT, identity: uri.user, readable: uri.files)
    }
  }

  /// Loads libraries that the reader will need and can load no more: reads nothing from outside.
  func prepare() throws {
    switch self {
    case .file, .handedOver: break
    case .server(let uri):
      do { try NbdImage.prepare() } catch { throw NbdImageError(uri: uri.text, problem: error) }
    case .started(let server):
      server.disown()
      try NbdImage.prepare()
    }
  }
}
