#!/bin/sh
# Shows what cowmount does: a read-only ext4 image is made writable, mounted, changed, and is afterwards what it was.
# The argument is the cowmount to use. Needs root, for the loop mount. Whatever fails, nothing is left behind.
set -eu

cowmount=$1
place=$(mktemp -d "${TMPDIR:-/var/tmp}/cowmount-demo.XXXXXX")
cd "$place"

clean_up() {
  status=$?
  trap - EXIT INT TERM
  cd /
  for mountpoint in "$place/files" "$place/overlay"; do
    if mountpoint -q "$mountpoint"; then umount "$mountpoint" || umount -l "$mountpoint" || true; fi
  done
  # Should a mount have stayed all the same, it is not emptied.
  rm -rf --one-file-system "$place"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n# %s\n' "$*"; }
run() {
  printf '$ %s\n' "$*"
  "$@"
}

say "A read-only disk image: ext4, 64 MiB, with a file in it."
mkdir files overlay tree
echo "as it was" >tree/note
run truncate -s 64M disk.img
run mkfs.ext4 -q -d tree disk.img
run chmod 0444 disk.img
sha256sum disk.img >before.sha256
stat -c '%y' disk.img >before.mtime
run cat before.sha256

say "One command makes it writable. Nothing is copied."
printf '$ cowmount disk.img overlay\n'
"$cowmount" disk.img overlay
run ls -l disk.img overlay/disk.img

say "The kernel mounts it as any disk, and it takes writes."
run mount -o loop overlay/disk.img files
run cat files/note
run sh -c 'echo "changed" >files/note'
run dd if=/dev/urandom of=files/big bs=1M count=16 status=none
run sync
run ls -l files
say "What was written takes space in an unnamed file, and only that."
run df -h overlay

say "Unmounting throws the changes away."
run umount files
run umount overlay

say "The image is what it was, to the byte and to its time."
run sha256sum -c before.sha256
stat -c '%y' disk.img | run cmp - before.mtime
run debugfs -R 'cat note' disk.img 2>/dev/null

printf '\nAll as promised.\n'
