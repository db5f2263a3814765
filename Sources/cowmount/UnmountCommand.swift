// cowmount unmount: takes a mount down, and returns when nothing of it is left.

internal import ArgumentParser
internal import MountControl

struct UnmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unmount",
    abstract: "Unmount, and wait until the mount's process is gone.",
    usage: "cowmount unmount <mountpoint>",
    discussion: """
      Loop devices over the mount that nothing uses are detached. What else uses it is named, and left alone. What was \
      written is thrown away.
      """)

  @OptionGroup
  var target: MountArgument

  func run() throws { try Unmount.run(target.path) }
}
