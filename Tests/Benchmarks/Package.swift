// swift-tools-version: 6.2
// The comparison with rivals, a package of its own so that nobody who builds cowmount builds it or fetches what it
// needs. The engine's own benchmarks are in Engine.
import PackageDescription

// One thread drives everything here, and the work is done by other processes: isolating the whole module to the
// main actor says so once and leaves nothing to share.
let driver: [SwiftSetting] = [
  .defaultIsolation(MainActor.self),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
  name: "cowmount-benchmarks",
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    // Without its default trait it does not bring Foundation along.
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
  ],
  targets: [
    // The comparison: cowmount beside the plain file and its rivals, from outside.
    .executableTarget(
      name: "cowbench",
      dependencies: [
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: driver)
  ],
  swiftLanguageModes: [.v6]
)
