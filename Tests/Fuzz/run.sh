#!/bin/bash
# Builds the fuzzer and lets it run on each parser for so many seconds, two at a time. What it learns stays in the corpus
# beside the build, for the next time; what it finds is told, and lies in a file TARGET-crash-… there.
#
#     run.sh [--seconds 60] [--seed N] [--target NAME]…     as `make fuzz ARGS=…`
#     COWFUZZ_TARGET=NAME .build/release/cowfuzz FILE        runs a find again
set -euo pipefail
cd "$(dirname "$0")"

seconds=60 seed=$RANDOM targets=()
while [ $# -gt 0 ]; do
  case $1 in
  --seconds) seconds=$2 ;;
  --seed) seed=$2 ;;
  --target) targets+=("$2") ;;
  *) echo "usage: $0 [--seconds N] [--seed N] [--target NAME]…" >&2 && exit 64 ;;
  esac
  shift 2
done

build=$PWD/.build
# Optimised, or it tries only a few inputs a second; with assertions all the same. The compiler heeds only the last of its
# options -sanitize.
"${SWIFT:-swift}" build --configuration release --sanitize fuzzer --sanitize address -Xswiftc -sanitize=fuzzer,address \
  -Xswiftc -enable-testing -Xswiftc -assert-config -Xswiftc Debug -Xswiftc -use-ld=lld --product cowfuzz
fuzzer=$build/release/cowfuzz
read -ra all <<<"$(env -u COWFUZZ_TARGET "$fuzzer")"
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}")

# Something of each kind to begin with. sample TARGET NAME [PREFIX]: standard input, behind bytes as printf writes them.
sample() {
  mkdir -p "$build/samples/$1"
  { printf "${3-}" && cat; } >"$build/samples/$1/$2"
}
# A little-endian number of so many bytes.
number() {
  local value=$1 count
  for ((count = $2; count > 0; count--)); do
    printf "\\x$(printf %02x $((value & 255)))"
    value=$((value >> 8))
  done
}
# pieces TARGET NAME FLAGS SECTORS FILE: an image in the form that SparseImage.swift takes: the size, then those of its
# sectors that are named, each with its number before it (counted from the end where it is negative).
pieces() {
  local size sector
  size=$(stat -c %s "$5")
  {
    number "$3" 1
    number "$size" 8
    for sector in $4; do
      if [ "$sector" -lt 0 ]; then number $(((1 << 31) - 1 - sector)) 4; else number "$sector" 4; fi
      dd if="$5" bs=512 skip=$((sector < 0 ? size / 512 + sector : sector)) count=1 status=none
    done
  } | sample "$1" "$2"
}
# A disk of 1 MiB with a partition table.
disk() {
  local image=$build/disk
  rm -f "$image" && truncate -s 1M "$image"
  "${@:3}" "$image" >/dev/null 2>&1
  pieces "$1" "$(basename "$3")" 0 "$2" "$image"
  rm "$image"
}
# virtual_disk FORMAT NUMBER SECTORS: its header and tables, as qemu-img makes them.
virtual_disk() {
  local image=$build/disk
  rm -f "$image" && qemu-img create -q -f "$1" "$image" 1M >/dev/null
  pieces disk "$1" "$2" "$3" "$image"
  rm "$image"
}
partition() {
  printf 'label: dos\nstart=16,size=16,type=83,bootable\nstart=64,size=128,type=5\nstart=65,size=8\nstart=75,size=8\n' |
    sfdisk --no-reread --force --quiet "$1"
}

printf 64k | sample size size
printf 'mount\n-o\nro,block-size=64k,fsname=a\\,b,name=x\\,y,allow_other\n-oro\n--\nx' | sample options options
head -5 /proc/self/mountinfo | sample mounts mounts
printf 'a "b"\\ \n' | sample json text
printf 'cowm ask\1\0\0\0\2\0\0\0\10\0\0\0\0\0\0\0\1\2\3\4\5\6\7\0' | sample control request
printf 'cowm say\1\0\0\0\2\0\0\0\24\0\0\0\0\0\0\0\0\1\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1' | sample control answer
head -c 25 /dev/zero | sample geometry zeros
printf 'aaaaaaaabbbbbbbbccccccccddddddddeeeeeeee' | sample window window '\17'
disk mbr '0 64 73' partition
disk gpt '1 2 -1 -33' sgdisk --new=1:40:50 --new=3:60:99
printf '\375\067zXZ\0abdisk.tar.xz' | sample probe xz
virtual_disk qcow2 0 '0 128 256'
virtual_disk vmdk 1 '0 1 21 26'
virtual_disk vhdx 2 '0 384 4096 6144 6272'
virtual_disk vdi 3 '0 1'
virtual_disk vpc 4 '0 1 3 4'
for command in 'xz --block-size=1000' 'xz --check=none' 'zstd' 'zstd --no-check' gzip; do
  tool=${command%% *}
  head -c 3000 Package.swift | $command --stdout | sample "$tool" "${command//[^a-z0-9]/_}" '\0'
  head -c 3000 Package.swift | sample "$tool" made '\5\3\377\3'
done

printf 'nbd+unix:///export?socket=a/b&tls-psk-file=%%2fc' | sample nbd uri '\3dir'
printf '\377\0\1\4\3\7\0\0\0\0\2' | sample extents extents

# Swift's own crash report would come before libFuzzer has written down what it was.
export SWIFT_BACKTRACE=enable=no
# Who allocated what is told when a find is run again; keeping it takes most of the time.
export ASAN_OPTIONS=malloc_context_size=0
export TMPDIR=$build
run() {
  mkdir -p "$build/corpus/$1" "$build/samples/$1"
  # That is plenty for any of the formats, and no parser may need more memory or time than this.
  COWFUZZ_TARGET=$1 "$fuzzer" -max_total_time="$seconds" -seed="$seed" -max_len=8192 -rss_limit_mb=1024 -timeout=10 \
    -print_final_stats=1 -artifact_prefix="$build/$1-" "$build/corpus/$1" "$build/samples/$1" >"$build/$1.log" 2>&1
}
finish() {
  local log=$build/$1.log
  if ! wait "$2"; then
    grep -E -m 2 'Fatal error|ERROR: ' "$log" || true
    grep 'Test unit written' "$log" || true
    echo "cowfuzz: $1: FAILED with seed $seed; see $log"
    failures=$((failures + 1))
  else
    echo "cowfuzz: $1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs," \
      "$(grep -o 'cov: [0-9]*' "$log" | tail -n 1) edges"
  fi
}

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
echo "cowfuzz: seed $seed, $seconds s for each of ${targets[*]}"
failures=0 former=
for target in "${targets[@]}"; do
  run "$target" &
  if [ -n "$former" ]; then finish $former; fi
  former="$target $!"
done
finish $former
exit $((failures > 0))
