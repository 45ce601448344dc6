#!/usr/bin/env bash
# Installs what is missing, builds, and runs the whole test suite; ends in ctest's summary.
# Usage: sudo scripts/test.sh [--quick] [--sanitizers] [--filter REGEX]
#   --quick        the release build alone, without the lab
#   --sanitizers   ThreadSanitizer too, besides AddressSanitizer and UndefinedBehaviorSanitizer
#   --filter RE    only tests whose names match
# Without root nothing is installed and the tests of the lab are skipped. Namespaces, interfaces,
# mounts, hugepages and processes are compared before and after: the run fails if any is left.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

quick=0 tsan=0 filter=()
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --quick) quick=1 ;;
    --sanitizers) tsan=1 ;;
    --filter) shift && filter=(-R "${1:?--filter needs a regular expression}") ;;
    *) say "unknown option '$1'; see --help" && exit 2 ;;
  esac
  shift
done

hugepages=/proc/sys/vm/nr_hugepages
hugepages_before=$(cat $hugepages)
# Everything started from here on carries this mark in its environment.
export FARSPAN_TEST_RUN=$$.$RANDOM

# What the run could leave behind, one line each. Interfaces that container tools make come and go.
inventory() {
  ip netns list 2>/dev/null | awk '/^farspan-/ {print "namespace " $1}'
  ip -o link show 2>/dev/null | awk -F': ' '$2 !~ /^(veth|docker|br-)/ {print "interface " $2}'
  awk '$3 == "hugetlbfs" || $2 ~ /farspan/ {print "mount " $2}' /proc/mounts
  echo "hugepages $(cat $hugepages)"
}

marked_processes() {
  local directory
  for directory in /proc/[0-9]*; do
    if grep -qsz "^FARSPAN_TEST_RUN=$FARSPAN_TEST_RUN$" "$directory/environ"; then
      printf 'process %s %s\n' "${directory#/proc/}" "$(tr '\0' ' ' <"$directory/cmdline")"
    fi
  done
}

reserve_hugepages() {
  local available_kib
  available_kib=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)
  if [[ $EUID -eq 0 && $hugepages_before -eq 0 && $available_kib -gt 8000000 ]]; then
    say "reserving 1024 hugepages for the run"
    echo 1024 >$hugepages
  fi
}

# Gives back what the run took and says what it left; fails if that is anything.
finish() {
  local code=$? left
  trap - EXIT INT TERM HUP
  if [[ $EUID -eq 0 ]]; then
    echo "$hugepages_before" >$hugepages
    /usr/bin/env python3 -B -m lab clean >/dev/null || true
  fi
  left=$(marked_processes)
  left+=$(comm -13 <(sort <<<"$before") <(inventory | sort))
  if [[ -n $left ]]; then
    say "left behind:"
    printf '%s\n' "$left"
    ((code)) || code=1
  fi
  exit "$code"
}

# run_tests PRESET [CTEST OPTIONS…]
run_tests() {
  local preset=$1
  shift
  say "testing: preset $preset"
  (cd "$root" && ctest --test-dir "build/$preset" --no-tests=error --output-on-failure -j "$(nproc)" \
    "${filter[@]}" "$@")
}

[[ $EUID -eq 0 ]] || say "not root: the tests of the lab will be skipped"
install_packages core engine lab rdma
before=$(inventory)
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

status=0
if ((quick)); then
  build release
  run_tests release -LE 'lab|vm' || status=1
else
  build dev
  run_tests dev -LE 'lab|vm' || status=1
  if ((tsan)); then
    build tsan
    run_tests tsan -LE 'lab|vm' || status=1
  fi
  build release
  reserve_hugepages
  run_tests release || status=1
fi
((status == 0))
