#!/usr/bin/env bash
# Fuzzes under AddressSanitizer and UndefinedBehaviorSanitizer: scripts/fuzz.sh [SECONDS [NAME…]]
# runs every target, or those named (wire, span, toml, …), for SECONDS each (default 60), from the
# committed corpus. What is new goes to build/fuzz/corpus/NAME, a finding to build/fuzz/NAME-*.
# RUNS=n instead of a time limit counts inputs: SECONDS is then the bound.
set -euo pipefail
cd "$(dirname "$0")/.."

known=(tests/fuzz/corpus/*/)
known=("${known[@]%/}")
known=("${known[@]##*/}")
seconds=${1:-60}
if [[ ! $seconds =~ ^[0-9]+$ ]]; then
  sed -n '2,5s/^# \{0,1\}//p' "$0"
  echo "Names: ${known[*]}"
  [[ $seconds == -h || $seconds == --help ]] && exit 0 || exit 2
fi
shift || true
names=("${@:-${known[@]}}")
for name in "${names[@]}"; do
  if [[ ! -d tests/fuzz/corpus/$name ]]; then
    echo "fuzz: there is no '$name'; there are: ${known[*]}" >&2
    exit 2
  fi
done

cmake --preset fuzz >/dev/null
ninja -C build/fuzz "${names[@]/%/_fuzz}"
# Sessions are made by the thousand: little memory kept back, and short stacks remembered of it.
export ASAN_OPTIONS=${ASAN_OPTIONS:-quarantine_size_mb=2:malloc_context_size=4}
for name in "${names[@]}"; do
  mkdir -p "build/fuzz/corpus/$name"
  echo "== $name"
  "build/fuzz/tests/fuzz/${name}_fuzz" -max_len=500 -entropic=0 -print_pcs=0 \
    -max_total_time="$seconds" -runs="${RUNS:--1}" -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="build/fuzz/$name-" "build/fuzz/corpus/$name" "tests/fuzz/corpus/$name"
done
