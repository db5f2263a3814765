#!/bin/sh
# Installs the Debian package in a bare system, uses it, upgrades it under a mount, and takes it away again:
# package.sh DEB [SUITE [SOURCE]]. The suite is this machine's own if it is left out; the source is a mirror, or a line as in
# sources.list. Needs root, mmdebstrap and a network. FUSE is this machine's.
set -eu
deb=$(realpath "$1")
. /etc/os-release
suite=${2:-$VERSION_CODENAME}
source=${3:-}

if [ -z "${COWMOUNT_PACKAGE_TEST:-}" ]; then
  # What is mounted is gone with the namespace.
  COWMOUNT_PACKAGE_TEST=1 exec unshare --mount --propagation private --pid --fork --kill-child "$0" "$deb" "$suite" "$source"
fi

room=$(mktemp -d)
trap 'umount -l "$room" && rmdir "$room"' EXIT
mount -t tmpfs tmpfs "$room"
system=$room/system
# The source is a word or nothing.
mmdebstrap --quiet --variant=minbase --include=apt "$suite" "$system" ${source:+"$source"}
mkdir "$room/newer"
dpkg-deb --raw-extract "$deb" "$room/newer"
sed -i 's/^Version: .*/&+newer/' "$room/newer/DEBIAN/control"
dpkg-deb --root-owner-group --build "$room/newer" "$system/newer.deb" >/dev/null
cp "$deb" "$system/first.deb"
mount -t proc proc "$system/proc"
mount --bind /dev "$system/dev"
cp /etc/resolv.conf "$system/etc/resolv.conf"

cat >"$system/steps" <<'STEPS'
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt() { apt-get --quiet --yes --no-install-recommends "$@" >/log 2>&1 || { cat /log; exit 1; }; }
apt update
apt install /first.deb
dpkg --listfiles cowmount >/tmp/listed
dpkg --verify cowmount
ldd /usr/bin/cowmount | { ! grep 'not found'; }
cowmount --version

mkdir /tmp/mnt /tmp/overlay
truncate --size 10M /tmp/disk.img
mount -t cowmount /tmp/disk.img /tmp/mnt -o overlay-dir=/tmp/overlay,nofail
echo kept >/tmp/mnt/disk.img
apt install /newer.deb
dpkg-query --show cowmount | grep newer
grep -q '^kept$' /tmp/mnt/disk.img
umount /tmp/mnt
mount -t fuse.cowmount /tmp/disk.img /tmp/mnt -o memory
umount /tmp/mnt

apt purge cowmount
for file in $(cat /tmp/listed); do
  if [ -f "$file" ] || [ -L "$file" ] && [ ! -d "$file" ]; then echo "$file was left behind"; exit 1; fi
done
! dpkg-query --show cowmount 2>/dev/null | grep .
STEPS
chroot "$system" sh /steps
echo "package.sh: installed, used, upgraded and removed on $suite"
