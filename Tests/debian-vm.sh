#!/bin/sh
# Boots a Debian system through a mount: made here with Debian's own tools, in a chain of three qcow2 images, with its own
# boot loader. What it writes lasts from boot to boot within a mount, and is gone with it; no image of the chain changes.
#
# The first argument is the cowmount to use; MIRROR names another Debian mirror than the one that apt uses. Needs root, for
# loop mounts, and 3 GB below $TMPDIR or /var/tmp. QEMU emulates the processor, so /dev/kvm is not needed. Takes minutes.
# Whatever fails, nothing is left behind.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
umask 022

suite=bookworm
start=1048576 # of the partition, in bytes
mbr=/usr/lib/syslinux/mbr/mbr.bin
system_limit=600 boot_limit=240 # seconds

fail() {
  printf '\ndebian-vm: %s\n' "$*" >&2
  exit 1
}
[ "$(id -u)" = 0 ] || fail "loop mounts need root: sudo $0 $*"
[ "$(uname -m)" = x86_64 ] || fail "installs an amd64 system, which needs an x86-64 machine"

cowmount=$1
place=$(mktemp -d "${TMPDIR:-/var/tmp}/cowmount-debian.XXXXXX")
child=

clean_up() {
  status=$?
  trap - EXIT INT TERM HUP
  cd /
  if [ -n "$child" ]; then
    kill "$child" 2>/dev/null || true
    wait "$child" || true
  fi
  for mountpoint in "$place/root" "$place/overlay"; do
    if mountpoint -q "$mountpoint"; then umount "$mountpoint" || umount -l "$mountpoint" || true; fi
  done
  # Should a mount have stayed all the same, it is not emptied.
  rm -rf --one-file-system "$place"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$place"

say() { printf '\n# %s\n' "$*"; }
run() {
  printf '$ %s\n' "$*"
  "$@"
}
# In the background, because a shell that waits in the foreground would not heed signals until the command has ended.
limited() {
  printf '$ %s\n' "$*"
  timeout --kill-after=10 "$@" </dev/null &
  child=$!
  ended=0
  wait "$child" || ended=$?
  child=
  [ "$ended" != 124 ] || echo "debian-vm: not done after $1 seconds" >&2
  return "$ended"
}

# The mirror that apt has for Debian; other sources, such as those of third parties, do not matter.
mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1
}
MIRROR=${MIRROR:-$(mirror)}
MIRROR=${MIRROR:-http://deb.debian.org/debian}

# The system in disk.raw, mounted for the commands in between.
open_disk() { mount -o "loop,offset=$start" disk.raw root; }
close_disk() { umount root; }

# LAYER BACKING: what disk.raw has now and BACKING has not.
make_layer() {
  run qemu-img create -q -f qcow2 -F raw -b disk.raw "$1"
  run qemu-img rebase -F qcow2 -b "$2" "$1"
}

# COUNT CACHE: boots what the mount shows. It has to tell that this is its boot number COUNT since the image was made.
boot() {
  rm -f console.log report.log
  limited "$boot_limit" qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 512 -display none -nic none -no-reboot \
    -device virtio-rng-pci -serial file:console.log -serial file:report.log \
    -drive "file=overlay/top.img,format=raw,if=virtio,cache=$2" || lost "the virtual machine did not end by itself"
  tr -d '\r' <report.log >report
  cat report
  grep -qx "boot $1 of layered, .*" report || lost "this is not boot $1"
  if grep -aE 'I/O error|EXT4-fs (error|warning)|Kernel panic' console.log; then lost "the guest's disk has failed"; fi
  grep -aq 'reboot: Power down' console.log || lost "the guest did not shut down"
  # QEMU has ended, so the host sees what the guest saw.
  run e2fsck -fn "overlay/top.img?offset=$start"
}
lost() {
  echo "The end of the guest's console:"
  tail -n 40 console.log || true
  fail "$1"
}

say "A disk of 1.5 GiB: a partition with ext4, and Debian $suite in it, from $MIRROR."
mkdir root overlay
run truncate -s 1536M disk.raw
# Where a boot loader of 2019 is sure to find its way.
echo "start=$((start / 512)), type=83, bootable" | run sfdisk -q disk.raw
run mkfs.ext4 -q -O ^64bit -L debian -E "offset=$start" disk.raw 1535M
open_disk
limited "$system_limit" mmdebstrap --mode=root --variant=minbase --components=main \
  --include=systemd-sysv,udev,initramfs-tools,linux-image-cloud-amd64 \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" root "$MIRROR" ||
  fail "no Debian system from $MIRROR; MIRROR=… names another mirror"
echo 'LABEL=debian / ext4 errors=remount-ro 0 1' >root/etc/fstab
mkdir root/boot/extlinux
cat >root/boot/extlinux/extlinux.conf <<'END'
SERIAL 0 115200
DEFAULT debian
LABEL debian
  LINUX /vmlinuz
  INITRD /initrd.img
  APPEND root=LABEL=debian ro console=ttyS0 systemd.firstboot=off
END
run extlinux --install root/boot/extlinux
run df -h root
close_disk
run dd if="$mbr" of=disk.raw bs=440 count=1 conv=notrunc status=none

say "The golden image is that disk."
run qemu-img convert -f raw -O qcow2 disk.raw golden.qcow2

say "The first layer adds a service. It counts boots in a file, checks what the boot before wrote, and powers off."
open_disk
cat >root/usr/local/sbin/count-boots <<'END'
#!/bin/sh
set -eu
cd /var/lib
count=0
if [ -e boots ]; then
  sha256sum --quiet -c bulk.sha256 || { echo "what the boot before wrote is damaged" && exit 1; }
  count=$(cat boots)
fi
count=$((count + 1))
dd if=/dev/urandom of=bulk bs=1M count=64 status=none
sha256sum bulk >bulk.sha256
echo "$count" >boots
sync
echo "boot $count of $(hostname), Debian $(cat /etc/debian_version), Linux $(uname -r)"
END
chmod 755 root/usr/local/sbin/count-boots
cat >root/etc/systemd/system/count-boots.service <<'END'
[Unit]
Description=Count boots
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
# A port of its own: on the console, a login prompt or a kernel message can come in between.
StandardOutput=file:/dev/ttyS1
StandardError=inherit
ExecStart=/usr/local/sbin/count-boots
END
mkdir -p root/etc/systemd/system/multi-user.target.wants
ln -s ../count-boots.service root/etc/systemd/system/multi-user.target.wants/
close_disk
make_layer middle.qcow2 golden.qcow2

say "The second layer gives the system its name, and is the image to boot."
open_disk
echo layered >root/etc/hostname
close_disk
make_layer top.qcow2 middle.qcow2
rm disk.raw
chmod 0444 ./*.qcow2
run qemu-img info --backing-chain top.qcow2 | grep -E '^(image|virtual size|disk size|backing file):'
sha256sum golden.qcow2 middle.qcow2 top.qcow2 >before.sha256
stat -c '%n %s %a %y' ./*.qcow2 >before.stat
cat before.sha256

say "Mounted, and booted twice: the second boot finds what the first one wrote."
run "$cowmount" --format qcow2 top.qcow2 overlay
run ls -l overlay
boot 1 writeback
boot 2 none
run df -h overlay

say "Unmounted and mounted again, it is the first boot once more."
run umount overlay
run "$cowmount" --format qcow2 top.qcow2 overlay
boot 1 writeback
run umount overlay

say "No image has changed, to the byte and to its time."
run sha256sum -c before.sha256 || fail "an image of the chain has changed"
stat -c '%n %s %a %y' ./*.qcow2 | run cmp - before.stat || fail "size, mode or time of an image has changed"

printf '\nAll as promised.\n'
