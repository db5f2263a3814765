// What people type from habit, or nearly right, and what they meant.

internal import ArgumentParser
internal import DiskIO
internal import Glibc

enum Habits {
  /// What is wrong with a command line that begins with what is neither an image nor a command; nil where nothing is known.
  static func complaint(about arguments: [String]) -> String? {
    guard let first = arguments.first else { return nil }
    let commands = Cowmount.configuration.subcommands.map { $0._commandName }
    switch first {
    case "-u": return "-u is no option of cowmount; \(wayToUnmount(commands))"
    case "-V": return "Unknown option '-V'. Did you mean '--version'?"
    case _ where first.hasPrefix("-") || first == "help" || commands.contains(first): return nil
    // Written with its directory, it is meant to be an image.
    case _ where first.contains("/"): return nil
    // An image may have any name.
    case _ where first.withCarriedCString { access($0, F_OK) } == 0: return nil
    case "umount", "unmount": return "there is no image '\(first)'; \(wayToUnmount(commands))"
    default:
      guard let meant = nearest(to: first, in: commands) else { return nil }
      return "there is no image '\(first)'. Did you mean 'cowmount \(meant)'?"
    }
  }

  /// The first option of -o that is nearly one of ours, as it was written and as it was meant. None that libfuse and the
  /// kernel have is that near.
  static func misspelt(_ options: MountOptions) -> (given: String, meant: String)? {
    for name in options.names {
      if let meant = nearest(to: name, in: MountOptions.ours) { return (name, meant) }
    }
    return nil
  }

  private static func wayToUnmount(_ commands: [String]) -> String {
    commands.contains("unmount")
      ? "a mount is taken away with: cowmount unmount MOUNTPOINT"
      : "a mount is taken away with: umount MOUNTPOINT (without root: fusermount3 -u MOUNTPOINT)"
  }

  /// The only name that is at most a letter away, of long ones two; nil where there is none, or more than one.
  static func nearest(to word: String, in names: some Sequence<String>) -> String? {
    guard word.count > 3 else { return nil }
    let near = names.map { (name: $0, distance: distance(word, $0)) }.filter { $0.distance <= (word.count < 8 ? 1 : 2) }
    guard let best = near.map(\.distance).min() else { return nil }
    let nearest = near.filter { $0.distance == best }
    return nearest.count == 1 ? nearest[0].name : nil
  }

  /// How many letters have to be put in, left out or changed to make one word the other.
  private static func distance(_ word: String, _ other: String) -> Int {
    let letters = Array(other.utf8)
    var row = Array(0...letters.count)
    for (index, letter) in word.utf8.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for column in letters.indices {
        let change = diagonal + (letter == letters[column] ? 0 : 1)
        diagonal = row[column + 1]
        row[column + 1] = min(change, row[column] + 1, row[column + 1] + 1)
      }
    }
    return row[letters.count]
  }
}
