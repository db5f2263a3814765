// swift-tools-version: 6.1
// libFuzzer for everything that reads bytes from outside. A package of its own, because all that it compiles is compiled
// for it (-sanitize=fuzzer,address); the targets and single files that are links are cowmount's.
import PackageDescription

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

let package = Package(
  name: "cowmount-fuzz",
  dependencies: [.package(url: "https://github.com/apple/swift-system", from: "1.8.0")],
  targets: [
    .systemLibrary(name: "CLzma", pkgConfig: "liblzma"),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib"),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd"),
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
      name: "NbdImages", dependencies: ["CLinux", "CNbd", "CopyOnWrite", "DiskIO", "Images", "Threads", system],
      swiftSettings: strict),
    .target(
      name: "VirtualDisks",
      dependencies: ["CLinux", "CopyOnWrite", "DiskIO", "Images", "NbdImages", "Threads", system],
      swiftSettings: strict),
    // What needs no libfuse of it.
    .target(name: "MountControl", dependencies: ["CLinux", "DiskIO"], swiftSettings: strict),
    .executableTarget(
      name: "cowfuzz",
      dependencies: [
        "CLinux", "CLzma", "CZlib", "CZstd", "CompressedImages", "CopyOnWrite", "DiskIO", "Images",
        "MountControl", "NbdImages", "PartitionTables", "VirtualDisks", system,
      ],
      // The main function is libFuzzer's.
      swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])]),
  ],
  swiftLanguageModes: [.v6]
)
