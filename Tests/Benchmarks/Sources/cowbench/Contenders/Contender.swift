// What a contender is: a way to turn a read-only image into a writable file.

import SystemPackage

/// One way to expose a base. The measurements know a contender by this alone.
protocol Contender: AnyObject {
  /// The name in tables and on the command line.
  var name: String { get }
  /// Whether it can expose what is in an xz file.
  var readsXz: Bool { get }
  /// What it needs on the machine.
  var executables: [String] { get }
  /// What `--version` of it prints, for the record.
  func version() async -> String

  /// Exposes a base and returns the writable file, once that is ready. Whatever it starts or mounts it hands to the
  /// stage first; the stage takes it down again, also when this throws half-way.
  func prepare(_ base: Base, on stage: Stage) async throws -> FilePath
}

extension Contender {
  var readsXz: Bool { false }

  /// The first executable that this machine lacks.
  var missing: String? { executables.first { locate($0) == nil } }

  /// Of the executable that does the work.
  func version() async -> String {
    guard let name = executables.first else { return "" }
    return (try? await command(name, ["--version"]))?.firstLine ?? "unknown"
  }

  /// Exposes `base`, works on it, and takes everything down however the work ended.
  func withExposed<Result>(
    _ base: Base, in directory: FilePath, _ body: (Exposed) async throws -> Result
  ) async throws -> Result {
    let stage = try Stage(directory: directory)
    do {
      let file = try await prepare(base, on: stage)
      let result = try await body(Exposed(file: file, base: base.path, stage: stage))
      await stage.tearDown()
      return result
    } catch {
      await stage.tearDown()
      throw error
    }
  }
}

/// Every contender there is, the plain file first: it is what the others are held against.
func allContenders(cowmount: String) -> [any Contender] {
  [
    PlainFile(), Cowmount(executable: cowmount), Nbdkit(), QemuStorageDaemon(), Xmount(),
    Nbdkit(keepingCache: true), Xmount(keepingCache: true),
  ]
}

/// The contenders of a run that names none. Those that are driven by an option nobody has to know are left to be
/// asked for.
nonisolated let defaultContenders = ["plain", "cowmount", "nbdkit", "qemu", "xmount"]
