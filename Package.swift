// swift-tools-version: 6.1
import PackageDescription

// Imports point one way: cowmount → MountedDisk → {BaseImage, ImageFS} → {CopyOnWrite, FuseSession} → DiskIO →
// CLinux, and Threads below all that wait. Only FuseSession sees libfuse.

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

// The types of <sys/stat.h> and <sys/uio.h> reach Swift both through Glibc and through libfuse's headers, and which of the
// two owns them depends on what the compiler loads first. With both imported plainly, that makes no difference.
let besideLibfuse = Array(strict.dropLast())

let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")

let package = Package(
  name: "cowmount",
  products: [
    .executable(name: "cowmount", targets: ["cowmount"]),
    // For Tests/Benchmarks/Engine.
    .library(name: "CopyOnWrite", targets: ["CopyOnWrite", "DiskIO"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
  ],
  targets: [
    .systemLibrary(
      name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
    .systemLibrary(name: "CLzma", pkgConfig: "liblzma", providers: [.apt(["liblzma-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .target(name: "CLinux"),
    .target(name: "CNbd"),
    .target(name: "Threads", dependencies: [system], swiftSettings: strict),
    .target(name: "DiskIO", dependencies: ["CLinux", system], swiftSettings: strict),
    .target(name: "CopyOnWrite", dependencies: ["DiskIO", system], swiftSettings: strict),
    .target(
      name: "BaseImage",
      dependencies: ["CLinux", "CLzma", "CNbd", "CZlib", "CZstd", "CopyOnWrite", "DiskIO", "Threads", system],
      swiftSettings: strict),
    .target(
      name: "FuseSession", dependencies: ["CFuse", "CLinux", "DiskIO", "Threads", system, logging],
      swiftSettings: besideLibfuse),
    .target(
      name: "ImageFS", dependencies: ["CLinux", "CopyOnWrite", "FuseSession", "DiskIO", system, logging],
      swiftSettings: besideLibfuse),
    .target(
      name: "MountedDisk",
      dependencies: [
        "BaseImage", "CLinux", "CopyOnWrite", "DiskIO", "FuseSession", "ImageFS", "Threads", logging, system,
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "cowmount",
      dependencies: ["BaseImage", "CopyOnWrite", "DiskIO", "MountedDisk", arguments, system],
      swiftSettings: strict),
    .target(name: "CConfinementProbe", dependencies: ["CLinux"], path: "Tests/CConfinementProbe"),
    .testTarget(
      name: "CLinuxTests", dependencies: ["CConfinementProbe", "CLinux", system], swiftSettings: strict),
    .testTarget(name: "DiskIOTests", dependencies: ["CLinux", "DiskIO", system], swiftSettings: strict),
    .testTarget(name: "CopyOnWriteTests", dependencies: ["CopyOnWrite", "DiskIO", system], swiftSettings: strict),
    .testTarget(
      name: "BaseImageTests", dependencies: ["BaseImage", "CLinux", "CopyOnWrite", "DiskIO", "Threads", system],
      swiftSettings: strict),
    .testTarget(
      name: "CommandTests",
      dependencies: [
        "cowmount", "BaseImage", "CLinux", "CopyOnWrite", "DiskIO", "FuseSession", "MountedDisk", arguments, logging,
        system,
      ],
      swiftSettings: besideLibfuse),
    .testTarget(
      name: "MountTests", dependencies: ["CConfinementProbe", "CLinux", subprocess, system], swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)
