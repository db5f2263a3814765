// The soak: cowmount under everything at once, for as long as one likes.
//
// Parts: `fuzz` compares every byte with what it must be, while processes and threads read, write, map, punch, seek and
// resize one mount; `kill` kills the server at random moments; `signals` and `orders` end mounts that are busy, in every
// way and order; `memory` gives little of it; `flat` looks for what grows. Each tells its seed. Needs root.

internal import ArgumentParser
internal import Glibc

@main
struct CowSoak: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cowsoak", abstract: "Works cowmount hard, and compares every byte with what it must be.",
    subcommands: [Soak.self, Client.self, Bulk.self], defaultSubcommand: Soak.self)
}
