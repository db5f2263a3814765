// swift-tools-version: 6.1
import PackageDescription

// The engine and what it stands on, with their tests, and nothing else: under a sanitizer everything is built once more, and
// the whole package takes minutes for that. Sources and tests are links to the real ones.

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

let package = Package(
  name: "sanitizers",
  dependencies: [.package(url: "https://github.com/apple/swift-system", from: "1.8.0")],
  targets: [
    .target(name: "CLinux"),
    .target(name: "Threads", dependencies: ["CLinux", system], swiftSettings: strict),
    .target(name: "DiskIO", dependencies: ["CLinux", system], swiftSettings: strict),
    .target(name: "CopyOnWrite", dependencies: ["DiskIO", "Threads", system], swiftSettings: strict),
    .target(name: "Images", dependencies: ["CLinux", "CopyOnWrite", "DiskIO", system], swiftSettings: strict),
    .target(
      name: "TestSupport", dependencies: ["CopyOnWrite", "DiskIO", "Images", "Threads", system], swiftSettings: strict),
    .testTarget(name: "ThreadsTests", dependencies: ["Threads", system], swiftSettings: strict),
    .testTarget(name: "DiskIOTests", dependencies: ["CLinux", "DiskIO", "TestSupport", system], swiftSettings: strict),
    .testTarget(
      name: "CopyOnWriteTests", dependencies: ["CopyOnWrite", "DiskIO", "TestSupport", "Threads", system],
      swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)
