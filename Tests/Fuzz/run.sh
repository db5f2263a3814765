#!/bin/sh
# Builds the fuzzer and lets it run for so many seconds (60). What it learns stays in the corpus beside the build, for the
# next time; what it finds is told, and lies in a file crash-… there. A seed repeats a run: run.sh 60 -seed=1.
set -eu
cd "$(dirname "$0")"

seconds=${1:-60}
[ $# -eq 0 ] || shift
build=${BUILD:-.build}
"${SWIFT:-swift}" build --sanitize fuzzer --scratch-path "$build" --product cowfuzz
mkdir -p "$build/corpus" "$build/samples"

# Something of each kind to begin with. The first byte says which parser it is for, as in Fuzz.swift.
sample() {
  name=$1 kind=$2
  { printf "$kind"; cat; } >"$build/samples/$name"
}
printf '64k' | sample size '\0'
printf 'mount\n-o\nro,block-size=64k,fsname=a\\,b,allow_other\n--\nx' | sample options '\1'
cat /proc/self/mountinfo | head -5 | sample mounts '\2'
head -c 25 /dev/zero | sample geometry '\3'
printf '\017%s' 12345678aaaaaaaabbbbbbbbccccccccddddddddeeeeeeee | sample window '\4'
head -c 1200 /dev/zero | sample gpt '\5\6'
head -c 1200 /dev/zero | sample mbr '\5\2\377'
for tool in xz 'xz --block-size=1000' zstd 'zstd --no-check' gzip; do
  if command -v "${tool%% *}" >/dev/null; then
    head -c 3000 Package.swift | $tool -c | sample "$(echo "$tool" | tr -c 'a-z0-9\n' _)" '\6\4'
  fi
done

# One input of 4 KiB is plenty for any of the formats, and no parser may need more memory or time than this.
exec "$build/debug/cowfuzz" -max_total_time="$seconds" -max_len=8192 -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
  -artifact_prefix="$build/" "$@" "$build/corpus" "$build/samples"
