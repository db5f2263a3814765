# Building, trying, testing and installing cowmount. `make help` lists the commands.

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
# Where everything that is built goes. A `make` variable, so that two builds can stand side by side.
BUILD ?= .build

# lld comes with the toolchain. The system linker would print glibc's warning about mktemp(3), which is in a part of
# Foundation that swift-argument-parser links and nobody calls.
RELEASE = --configuration release --static-swift-stdlib -Xswiftc -use-ld=lld -Xlinker --strip-all
BINARY = $(BUILD)/release/cowmount

# Tests are a debug build, with assertions. Other flags mean another folder, or each change of flags would build all anew.
STRICT_FLAGS = --scratch-path $(BUILD)/strict -Xswiftc -warnings-as-errors --explicit-target-dependency-import-check error
TEST_FLAGS = $(if $(STRICT),$(STRICT_FLAGS),--scratch-path $(BUILD))
# What needs neither mounts nor root.
FAST_TESTS = --skip MountTests
# What the sanitizers look at: where threads meet. (All of the engine: make tsan SANITIZED=.)
SANITIZED ?= PairsTests|StressTests|LayerTests|LayerModelTests|FreezeTests|FaultTests|DrainGateTests|MappedFileTests
SANITIZE = $(SWIFT) test --disable-xctest --package-path Tests/Sanitizers --filter '$(SANITIZED)'

# Where things are installed. mount(8) looks for its helpers in the system's own folder only.
PACKAGING = Sources/packaging
MANUAL = $(wildcard man/*.[1-8])
in_manual = $(PREFIX)/share/man/man$(lastword $(subst ., ,$(1)))/$(notdir $(1))
BASH_COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
FISH_COMPLETIONS ?= $(PREFIX)/share/fish/vendor_completions.d
UNITS ?= $(PREFIX)/lib/systemd/system
HELPERS ?= $(if $(filter /usr /usr/local,$(PREFIX)),/usr/sbin,$(PREFIX)/sbin)

# Loop devices need root. Without sudo, tests that need root are skipped and counted.
AS_ROOT = $(if $(filter 0,$(shell id -u)),,$(shell command -v sudo))
# With sudo, root runs only what is built: SwiftPM as root would leave files that it then cannot use as a user.
TEST_BUNDLE = "$$($(SWIFT) build --show-bin-path $(TEST_FLAGS))/cowmountPackageTests.xctest"
RUN_TESTS = $(if $(AS_ROOT),$(TEST_BUNDLE) --testing-library swift-testing,\
  $(SWIFT) test --disable-xctest --skip-build $(TEST_FLAGS))

BUILD_SOAK = $(SWIFT) build --package-path Tests/Soak --configuration release --product cowsoak
RUN_SOAK = Tests/Soak/.build/release/cowsoak --cowmount $(abspath $(BINARY))

# What a command looks for, and the Debian package that has it.
BUILD_NEEDS = $(SWIFT)= pkg-config=pkg-config fuse3.pc=libfuse3-dev liblzma.pc=liblzma-dev zlib.pc=zlib1g-dev \
  libzstd.pc=libzstd-dev libnbd.pc=libnbd-dev
RUN_NEEDS = fusermount3=fuse3
DEMO_NEEDS = mkfs.ext4=e2fsprogs losetup=mount
FAST_TEST_NEEDS = xz=xz-utils zstd=zstd sfdisk=fdisk sgdisk=gdisk parted=parted
TEST_NEEDS = $(DEMO_NEEDS) mkfs.xfs=xfsprogs fio=fio qemu-img=qemu-utils qemu-system-x86_64=qemu-system-x86 \
  perl=perl setpriv=util-linux nbdkit=nbdkit qemu-nbd=qemu-utils psktool=gnutls-bin zsh=zsh fish=fish $(FAST_TEST_NEEDS)
CHECK_NEEDS = $(FAST_TEST_NEEDS) mandoc=mandoc
BENCH_NEEDS = $(DEMO_NEEDS) fio=fio nbdkit=nbdkit nbdfuse=libnbd-bin qemu-img=qemu-utils \
  qemu-storage-daemon=qemu-system-common xmount=xmount xz=xz-utils
DEBIAN_NEEDS = mkfs.ext4=e2fsprogs mount=mount sfdisk=fdisk mmdebstrap=mmdebstrap extlinux=extlinux \
  /usr/lib/syslinux/mbr/mbr.bin=syslinux-common qemu-img=qemu-utils qemu-nbd=qemu-utils \
  qemu-system-x86_64=qemu-system-x86
FUZZ_NEEDS = xz=xz-utils zstd=zstd sfdisk=fdisk sgdisk=gdisk qemu-img=qemu-utils
ARM64 = aarch64-linux-gnu-
DEB_NEEDS = dpkg-shlibdeps=dpkg-dev lintian=lintian
NEED = @Tests/install-missing.sh $(BUILD_NEEDS)

.PHONY: build demo test lint check arm64-check tsan asan fuzz bench bench-engine soak debian-vm install uninstall deb deb-test clean help
.DEFAULT_GOAL := build

build: ## The release binary, .build/release/cowmount (the default)
	$(NEED)
	$(SWIFT) build --scratch-path $(BUILD) $(RELEASE) --product cowmount

demo: ## Shows what it does, on a small ext4 image; installs what is missing first
	$(NEED) $(RUN_NEEDS) $(DEMO_NEEDS)
	@$(MAKE) --no-print-directory build
	@$(AS_ROOT) Tests/demo.sh $(abspath $(BINARY))

test: ## All tests: unit, model and mount tests, a short soak; installs what is missing first
	$(NEED) $(RUN_NEEDS) $(TEST_NEEDS)
	@$(MAKE) --no-print-directory build
	$(SWIFT) build --build-tests $(TEST_FLAGS)
	$(AS_ROOT) env COWMOUNT=$(abspath $(BINARY)) COWMOUNT_REQUIRE_MOUNTS=$(COWMOUNT_REQUIRE_MOUNTS) $(RUN_TESTS)
	Tests/completions.zsh $(BINARY)
	$(BUILD_SOAK)
	$(AS_ROOT) env COWMOUNT_REQUIRE_MOUNTS=$(COWMOUNT_REQUIRE_MOUNTS) $(RUN_SOAK) --short

lint: ## Format, a build in which warnings are errors, manual page
	$(NEED) $(CHECK_NEEDS)
	find Package.swift Sources Tests -name .build -prune -o -name '*.swift' -print0 | \
	  xargs -0 $(SWIFT) format lint --strict --parallel
	$(SWIFT) build --build-tests $(STRICT_FLAGS)
	mandoc -T lint -W warning $(MANUAL)

check: lint ## What a change has to pass besides make test: lint, and the fast tests
	$(SWIFT) test --disable-xctest --skip-build $(STRICT_FLAGS) $(FAST_TESTS)

arm64-check: ## The C parts compiled for arm64, by the other compiler than Swift's; warnings are errors
	$(NEED) $(ARM64)gcc=gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdio.h=libc6-dev-arm64-cross
	@set -e; for file in Sources/*/*.c Tests/CConfinementProbe/*.c Sources/C*/shim.h; do \
	  $(ARM64)gcc -x c -std=gnu17 -fsyntax-only -Wall -Wextra -Wno-missing-field-initializers -Wno-unused -Werror -D_Nonnull= -D_Nullable= \
	    $(patsubst %,-I %,$(wildcard Sources/*/include Tests/*/include)) -idirafter /usr/include/fuse3 \
	    -idirafter /usr/include $$file; done

tsan: ## The engine's tests under the thread sanitizer
	$(NEED)
	TSAN_OPTIONS=halt_on_error=1:suppressions=$(CURDIR)/Tests/Sanitizers/thread.supp \
	  $(SANITIZE) --scratch-path Tests/Sanitizers/.build/thread --sanitize thread

asan: ## The engine's tests under the address sanitizer
	$(NEED)
	ASAN_OPTIONS=detect_leaks=0 $(SANITIZE) --scratch-path Tests/Sanitizers/.build/address --sanitize address

fuzz: ## libFuzzer on all that reads bytes from outside: make fuzz ARGS="--seconds 60 --target xz"
	$(NEED) $(FUZZ_NEEDS)
	SWIFT="$(SWIFT)" Tests/Fuzz/run.sh $(ARGS)

bench: ## cowmount beside the plain file and its rivals: make bench ARGS="--quick"
	$(NEED) $(RUN_NEEDS) $(BENCH_NEEDS)
	@$(MAKE) --no-print-directory build
	$(SWIFT) build --package-path Tests/Benchmarks --configuration release --product cowbench
	$(AS_ROOT) Tests/Benchmarks/.build/release/cowbench --cowmount $(abspath $(BINARY)) $(ARGS)

bench-engine: ## The engine alone: time and allocations of a request
	$(NEED)
	$(SWIFT) package --package-path Tests/Benchmarks/Engine benchmark $(ARGS)

soak: ## A fuzz and chaos run against a shadow, half an hour: make soak ARGS="--seconds 60 --seed 7"
	$(NEED) $(RUN_NEEDS) $(DEMO_NEEDS)
	@$(MAKE) --no-print-directory build
	$(BUILD_SOAK)
	$(AS_ROOT) $(RUN_SOAK) $(ARGS)

debian-vm: ## Boots Debian from a chain of qcow2 images through a mount, minutes; installs what is missing first
	$(NEED) $(RUN_NEEDS) $(DEBIAN_NEEDS)
	@$(MAKE) --no-print-directory build
	@$(AS_ROOT) Tests/debian-vm.sh $(abspath $(BINARY))

install: ## Program, manual pages, completions, license, service and helper of mount(8); PREFIX (/usr/local), DESTDIR
	@test -x $(BINARY) || $(MAKE) --no-print-directory build
	install -D --mode=755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/cowmount
	set -e; $(foreach page,$(MANUAL),install -D --mode=644 $(page) $(DESTDIR)$(call in_manual,$(page));)
	install -D --mode=644 $(PACKAGING)/completions/cowmount.bash $(DESTDIR)$(BASH_COMPLETIONS)/cowmount
	install -D --mode=644 $(PACKAGING)/completions/cowmount.zsh $(DESTDIR)$(ZSH_COMPLETIONS)/_cowmount
	install -D --mode=644 $(PACKAGING)/completions/cowmount.fish $(DESTDIR)$(FISH_COMPLETIONS)/cowmount.fish
	install -D --mode=644 $(PACKAGING)/cowmount@.service $(DESTDIR)$(UNITS)/cowmount@.service
	install -D --mode=644 LICENSE $(DESTDIR)$(PREFIX)/share/licenses/cowmount/LICENSE
	install -d $(DESTDIR)$(HELPERS)
	ln -sf $(shell realpath --no-symlinks --canonicalize-missing --relative-to=$(HELPERS) $(PREFIX)/bin/cowmount) \
	  $(DESTDIR)$(HELPERS)/mount.cowmount

uninstall: ## Takes away what install has put there
	rm -f $(DESTDIR)$(PREFIX)/bin/cowmount $(foreach page,$(MANUAL),$(DESTDIR)$(call in_manual,$(page))) \
	  $(DESTDIR)$(BASH_COMPLETIONS)/cowmount $(DESTDIR)$(ZSH_COMPLETIONS)/_cowmount \
	  $(DESTDIR)$(FISH_COMPLETIONS)/cowmount.fish $(DESTDIR)$(UNITS)/cowmount@.service \
	  $(DESTDIR)$(PREFIX)/share/licenses/cowmount/LICENSE $(DESTDIR)$(HELPERS)/mount.cowmount
	-rmdir --ignore-fail-on-non-empty $(DESTDIR)$(PREFIX)/share/licenses/cowmount

deb: ## A Debian package for this release, .build/cowmount_VERSION_ARCHITECTURE.deb; checked with lintian
	$(NEED) $(DEB_NEEDS)
	@$(MAKE) --no-print-directory build
	lintian --fail-on error "$$($(PACKAGING)/deb.sh $(BINARY) $(BUILD) | tee /dev/stderr)"

deb-test: deb ## Installs, uses, upgrades and removes the package in a bare system: make deb-test SUITE=bookworm
	$(NEED) mmdebstrap=mmdebstrap
	$(AS_ROOT) Tests/package.sh $(BUILD)/cowmount_*.deb $(SUITE)

clean: ## Everything that was built
	rm -rf $(BUILD) Tests/Benchmarks/.build Tests/Benchmarks/Engine/.build Tests/Fuzz/.build Tests/Sanitizers/.build Tests/Soak/.build

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
