// swift-tools-version: 6.2
// The engine alone, request by request. A package of its own, because what measures it here (ordo-one/benchmark) brings
// along much that the comparison with rivals does not need.
import PackageDescription

let package = Package(
  name: "cowmount-engine-benchmarks",
  platforms: [.macOS(.v13)],
  dependencies: [
    .package(name: "cowmount", path: "../../.."),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    // Without its traits it does not bring along libraries that replace the allocator and the runtime.
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
  ],
  targets: [
    .target(name: "CAllocations", path: "Benchmarks/CAllocations"),
    .executableTarget(
      name: "Engine",
      dependencies: [
        "CAllocations",
        .product(name: "Benchmark", package: "benchmark"),
        .product(name: "CopyOnWrite", package: "cowmount"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      path: "Benchmarks/Engine",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ],
  swiftLanguageModes: [.v6]
)
