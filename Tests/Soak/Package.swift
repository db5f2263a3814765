// swift-tools-version: 6.2
// The soak: hours of work, kills and little memory for a mounted cowmount. A package of its own, so that nobody who builds
// cowmount builds it.
import PackageDescription

let package = Package(
  name: "cowmount-soak",
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
  ],
  targets: [
    // Calls and constants that the Glibc module hides.
    .target(name: "CSoak"),
    .executableTarget(
      name: "cowsoak",
      dependencies: [
        "CSoak",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: [
        .enableUpcomingFeature("ExistentialAny"),
        .enableUpcomingFeature("InternalImportsByDefault"),
        .enableUpcomingFeature("MemberImportVisibility"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
