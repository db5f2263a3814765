#!/bin/sh
# Installs what is missing on Debian or Ubuntu. Where nothing is missing, it needs neither network nor root.
#
# Each argument is NEED=PACKAGE: a program, a file by its path, or with the suffix .pc a library's development files as
# pkg-config knows them. Without a package, it is the Swift toolchain, which no distribution has.
set -eu

PATH=$PATH:/usr/sbin:/sbin

is_here() {
  case $1 in
  /*) [ -e "$1" ] ;;
  *.pc) pkg-config --exists "${1%.pc}" 2>/dev/null ;;
  *) command -v "$1" >/dev/null ;;
  esac
}

missing=
for pair; do
  need=${pair%%=*}
  package=${pair#*=}
  if is_here "$need"; then continue; fi
  if [ -z "$package" ]; then
    echo "There is no swift here. Install a toolchain, 6.2 or newer (https://www.swift.org/install/linux), and see that it" \
      "is on the PATH." >&2
    exit 1
  fi
  missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "These Debian packages, or what your distribution has instead, are missing:$missing" >&2
  exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then as_root=sudo; fi
echo "Installing$missing"
$as_root apt-get -q update
# The list is split on purpose.
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends $missing
