#!/usr/bin/env bash
# Builds the CUDA kernels, checks every one bit for bit against the CPU, runs them under
# compute-sanitizer where it is there, and times them with 4, 8 and all multiprocessors.
# Needs nvcc, CMake and a GPU, nothing else of Farspan's packages. Takes less than nine minutes.
# Usage: scripts/gpu_kernels.sh DIRECTORY     results: DIRECTORY/{checks,timings}.json and logs
# Ends with 0 if the build and the checks are good.
set -euo pipefail

case ${1:-} in
  '' | -*) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
build=$root/build/gpu-kernels
export PATH=$PATH:/usr/local/cuda/bin
commit=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
status=0

say() { printf 'gpu_kernels: %s\n' "$*"; }

# step NAME SECONDS COMMAND…: its output goes to a log and the terminal; a failure is kept for the end.
step() {
  local name=$1 limit=$2 began=$SECONDS
  shift 2
  if timeout "$limit" "$@" 2>&1 | tee "$out/$name.log"; then
    say "$name: good ($((SECONDS - began)) s)"
  else
    say "$name: FAILED ($((SECONDS - began)) s, limit $limit s), see $out/$name.log"
    status=1
  fi
}

for program in nvcc cmake; do
  command -v $program >/dev/null || { say "$program is missing"; exit 3; }
done
{
  date -u +%FT%TZ
  echo "commit $commit"
  nvcc --version | tail -2
  nvidia-smi || true
} >"$out/machine.log" 2>&1

# Only for this machine's GPU, which is quicker to build.
architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .)
step configure 60 cmake -S "$root/kernels" -B "$build" -DFARSPAN_CUDA=ON \
  -DCMAKE_CUDA_ARCHITECTURES="${architecture:-90}"
step build 150 cmake --build "$build" -j "$(nproc)"
((status == 0)) || exit $status
kernels=$build/farspan-kernels

step checks 90 "$kernels" --device cuda --check --commit "$commit" --json "$out/checks.json"
step timings 140 "$kernels" --device cuda --time --seconds 0.1 --commit "$commit" \
  --json "$out/timings.json"
if command -v compute-sanitizer >/dev/null; then
  step memcheck 50 compute-sanitizer --tool memcheck --error-exitcode 9 \
    "$kernels" --device cuda --check --small
  step racecheck 40 compute-sanitizer --tool racecheck --error-exitcode 9 \
    "$kernels" --device cuda --check --small --filter 'rs('
else
  say "no compute-sanitizer here: not run"
fi
exit $status
