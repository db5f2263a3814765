#!/bin/sh
# Makes a Debian package of what `make install` installs: deb.sh BINARY FOLDER. The package is for the release that it is
# made on: what it depends on is what the binary is linked with, as dpkg-shlibdeps finds it there.
set -eu
binary=$(realpath "$1")
mkdir -p "$2"
folder=$(realpath "$2")
here=$(realpath "$(dirname "$0")")
top=$here/../..

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stage=$work/stage
umask 022

make --no-print-directory --directory "$top" install DESTDIR="$stage" PREFIX=/usr BINARY="$binary" \
  ZSH_COMPLETIONS=/usr/share/zsh/vendor-completions >/dev/null
find "$stage/usr/share/man" -type f -exec gzip -9n {} +
doc=$stage/usr/share/doc/cowmount
# The license is among Debian's common ones, to which the copyright file points.
rm -r "$stage/usr/share/licenses"
install -D --mode=644 "$here/debian/copyright" "$doc/copyright"
gzip -9nc "$here/debian/changelog" >"$doc/changelog.Debian.gz"

version=$(dpkg-parsechangelog --file "$here/debian/changelog" --show-field Version)
maintainer=$(dpkg-parsechangelog --file "$here/debian/changelog" --show-field Maintainer)
architecture=$(dpkg --print-architecture)
# dpkg-shlibdeps reads nothing else of it, and wants it here.
mkdir -p "$work/debian" "$stage/DEBIAN"
printf 'Source: cowmount\n\nPackage: cowmount\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O -e"$stage/usr/bin/cowmount" | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "deb.sh: cannot tell what $binary is linked with" >&2 && exit 1; }
sed -e "s|@VERSION@|$version|" -e "s|@ARCHITECTURE@|$architecture|" -e "s|@MAINTAINER@|$maintainer|" \
  -e "s|@SIZE@|$(du -k -s --apparent-size "$stage" | cut -f 1)|" -e "s|@DEPENDS@|$depends|" \
  "$here/debian/control.in" >"$stage/DEBIAN/control"
(cd "$stage" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$stage/DEBIAN/md5sums"

# One package is there, whatever its version.
rm -f "$folder"/cowmount_*.deb
package=$folder/cowmount_${version}_$architecture.deb
# The same bytes whenever it is made of the same.
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog --file "$here/debian/changelog" --show-field Timestamp)
export SOURCE_DATE_EPOCH
dpkg-deb --root-owner-group -Zxz --build "$stage" "$package" >/dev/null
echo "$package"
