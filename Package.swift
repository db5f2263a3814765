// swift-tools-version: 6.1
import PackageDescription

// Imports point one way: cowmount → {MountedDisk, DiskSaving} → {kinds of image, ImageFS, MountControl} →
// {CopyOnWrite, FuseSession} → DiskIO → {Threads, CLinux}. A kind of image sees Images, which says what an image is, and what is below that. Each library
// that reads what comes from outside is seen by one kind: only FuseSession sees libfuse, and only NbdImages libnbd.

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
    .target(name: "Threads", dependencies: ["CLinux", system], swiftSettings: strict),
    .target(name: "DiskIO", dependencies: ["CLinux", system], swiftSettings: strict),
    .target(name: "CopyOnWrite", dependencies: ["DiskIO", "Threads", system], swiftSettings: strict),
    .target(name: "Images", dependencies: ["CLinux", "CopyOnWrite", "DiskIO", system], swiftSettings: strict),
    .target(
      name: "PartitionTables", dependencies: ["CZlib", "CopyOnWrite", "Images", system], swiftSettings: strict),
    .target(
      name: "CompressedImages",
      dependencies: ["CLzma", "CZlib", "CZstd", "CopyOnWrite", "DiskIO", "Images", "Threads", system],
      swiftSettings: strict),
    .target(
      name: "NbdImages",
      dependencies: ["CLinux", "CNbd", "CopyOnWrite", "DiskIO", "Images", "Threads", system],
      swiftSettings: strict),
    .target(
      name: "VirtualDisks",
      dependencies: ["CLinux", "CopyOnWrite", "DiskIO", "Images", "NbdImages", "Threads", system],
      swiftSettings: strict),
    .target(
      name: "FuseSession", dependencies: ["CFuse", "CLinux", "DiskIO", "Threads", system, logging],
      swiftSettings: besideLibfuse),
    .target(
      name: "ImageFS", dependencies: ["CLinux", "CopyOnWrite", "FuseSession", "DiskIO", system, logging],
      swiftSettings: besideLibfuse),
    .target(
      name: "MountControl", dependencies: ["CLinux", "DiskIO", "FuseSession", "Threads", system], swiftSettings: strict),
    .target(
      name: "MountedDisk",
      dependencies: [
        "CLinux", "CompressedImages", "CopyOnWrite", "DiskIO", "FuseSession", "ImageFS", "Images", "MountControl",
        "NbdImages", "PartitionTables", "Threads", "VirtualDisks", logging, system,
      ],
      swiftSettings: strict),
    .target(
      name: "DiskSaving", dependencies: ["CLinux", "DiskIO", "MountControl", "VirtualDisks", system],
      swiftSettings: strict),
    .executableTarget(
      name: "cowmount",
      dependencies: [
        "CompressedImages", "CopyOnWrite", "DiskIO", "DiskSaving", "Images", "MountControl", "MountedDisk", "NbdImages",
        "PartitionTables", "VirtualDisks", arguments, system,
      ],
      swiftSettings: strict),
    .target(name: "CConfinementProbe", dependencies: ["CLinux"], path: "Tests/CConfinementProbe"),
    .testTarget(
      name: "CLinuxTests", dependencies: ["CConfinementProbe", "CLinux", "TestSupport", system], swiftSettings: strict),
    .testTarget(name: "ThreadsTests", dependencies: ["Threads", system], swiftSettings: strict),
    .testTarget(name: "DiskIOTests", dependencies: ["CLinux", "DiskIO", "TestSupport", system], swiftSettings: strict),
    .testTarget(
      name: "CopyOnWriteTests", dependencies: ["CopyOnWrite", "DiskIO", "TestSupport", "Threads", system],
      swiftSettings: strict),
    .target(
      name: "TestSupport", dependencies: ["CopyOnWrite", "DiskIO", "Images", "Threads", system],
      path: "Tests/TestSupport",
      swiftSettings: strict),
    .testTarget(
      name: "ImagesTests", dependencies: ["CLinux", "CopyOnWrite", "DiskIO", "Images", "TestSupport", system],
      swiftSettings: strict),
    .testTarget(
      name: "PartitionTablesTests",
      dependencies: ["Images", "PartitionTables", "TestSupport", system], swiftSettings: strict),
    .testTarget(
      name: "CompressedImagesTests",
      dependencies: ["CZlib", "CompressedImages", "CopyOnWrite", "DiskIO", "Images", "TestSupport", system],
      swiftSettings: strict),
    .testTarget(
      name: "NbdImagesTests",
      dependencies: ["CopyOnWrite", "DiskIO", "NbdImages", "TestSupport", "Threads", system], swiftSettings: strict),
    .testTarget(
      name: "VirtualDisksTests",
      dependencies: ["DiskIO", "NbdImages", "TestSupport", "VirtualDisks", system],
      swiftSettings: strict),
    .testTarget(
      name: "CommandTests",
      dependencies: [
        "cowmount", "CLinux", "CopyOnWrite", "DiskIO", "FuseSession", "Images", "MountControl", "MountedDisk",
        "NbdImages", "TestSupport", arguments, logging, system,
      ],
      swiftSettings: besideLibfuse),
    .testTarget(
      name: "MountTests", dependencies: ["CConfinementProbe", "CLinux", "TestSupport", subprocess, system],
      swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)
