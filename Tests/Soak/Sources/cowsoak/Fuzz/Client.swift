// A fuzzing process: threads that each own a part of the file. Started by the soak itself, not by users.

internal import ArgumentParser
internal import Glibc
internal import Synchronization
internal import SystemPackage

struct Client: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "client", shouldDisplay: false)

  @Option var seed: UInt64
  @Option var process: Int
  @Option var file: String
  @Option var control: String
  @Flag var expectsDeath = false

  /// Exit status where the server died, as was expected.
  static let diedStatus: CInt = 77

  func run() throws {
    let configuration = Configuration(seed: seed)
    let control = try Control(control)
    if expectsDeath {
      // A mapping whose server is gone.
      signal(SIGBUS) { _ in _exit(Client.diedStatus) }
    }
    var threads: [pthread_t] = []
    for number in 0..<configuration.threadsPerProcess {
      let job = Job(
        configuration: configuration, index: process * configuration.threadsPerProcess + number, control: control,
        file: file, expectsDeath: expectsDeath)
      var thread = pthread_t()
      pthread_create(
        &thread, nil,
        { context in
          if let context { Unmanaged<Job>.fromOpaque(context).takeRetainedValue().run() }
          return nil
        }, Unmanaged.passRetained(job).toOpaque())
      threads.append(thread)
    }
    for thread in threads { pthread_join(thread, nil) }
  }

  /// What a thread has to do.
  private final class Job: @unchecked Sendable {
    // SAFETY: constants, and a Control that synchronises itself.
    let configuration: Configuration
    let index: Int
    let control: Control
    let file: String
    let expectsDeath: Bool

    init(configuration: Configuration, index: Int, control: Control, file: String, expectsDeath: Bool) {
      self.configuration = configuration
      self.index = index
      self.control = control
      self.file = file
      self.expectsDeath = expectsDeath
    }

    func run() {
      do {
        let owner = try Owner(
          configuration, index: index, control: control, path: file, expectsDeath: expectsDeath)
        try owner.run()
      } catch {
        // The whole process ends as soon as one of its threads has seen the end.
        if expectsDeath, error is Errno { _exit(Client.diedStatus) }
        control.countFailure()
        writeError("FAILURE seed \(configuration.seed): \(error)\n")
        _exit(1)
      }
    }
  }
}
