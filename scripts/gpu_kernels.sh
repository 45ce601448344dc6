#!/usr/bin/env bash
# Builds the kernels, checks every operation bit for bit against the scalar code, on the CPU and on
# the GPU, runs them under compute-sanitizer where it is there, and times them with 4, 8 and all
# multiprocessors. Needs nvcc, CMake, a C++20 compiler, make or ninja, and a GPU; no network, and
# nothing else of Farspan's packages: the tests under tests/ (GoogleTest, rapidcheck, Random123) are
# the project's build's. Takes less than nine minutes.
# Usage: scripts/gpu_kernels.sh DIRECTORY   leaves kernels.log, checks-cpu.json, checks.json and
#                                           timings.json there
# Ends with 0 if the build and the checks are good, with 3 if the machine lacks something.
set -euo pipefail

case ${1:-} in
  '' | -*) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
build=$root/build/gpu-kernels
log=$out/kernels.log
export PATH=$PATH:/usr/local/cuda/bin
commit=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
status=0

say() { printf 'gpu_kernels: %s\n' "$*" | tee -a "$log"; }

# step NAME SECONDS COMMAND…: what it prints goes to the terminal and the log; a failure is kept for
# the end.
step() {
  local name=$1 limit=$2 began=$SECONDS
  shift 2
  if timeout "$limit" "$@" 2>&1 | tee -a "$log"; then
    say "$name: good ($((SECONDS - began)) s)"
  else
    say "$name: FAILED ($((SECONDS - began)) s, limit $limit s)"
    status=1
  fi
}

: >"$log"
for program in nvcc cmake c++; do
  command -v $program >/dev/null || { say "$program is missing"; exit 3; }
done
{
  date -u +%FT%TZ
  echo "commit $commit"
  nvcc --version | tail -2
  nvidia-smi || echo 'no GPU'
} >>"$log" 2>&1

# Only for this machine's GPU, which is quicker to build.
architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .) || true
step configure 40 cmake -S "$root/kernels" -B "$build" -DFARSPAN_CUDA=ON \
  -DCMAKE_CUDA_ARCHITECTURES="${architecture:-90}"
((status)) || step build 150 cmake --build "$build" -j "$(nproc)"
((status == 0)) || exit $status
kernels=$build/farspan-kernels

step 'checks of the CPU' 30 "$kernels" --device cpu --check --small --commit "$commit" \
  --json "$out/checks-cpu.json"
if [[ -z $architecture ]]; then
  say 'no GPU here: the build and the CPU are all that was checked'
  exit 3
fi
step checks 80 "$kernels" --device cuda --check --commit "$commit" --json "$out/checks.json"
step timings 140 "$kernels" --device cuda --time --seconds 0.1 --commit "$commit" \
  --json "$out/timings.json"
if command -v compute-sanitizer >/dev/null; then
  step memcheck 50 compute-sanitizer --tool memcheck --error-exitcode 9 \
    "$kernels" --device cuda --check --small
  step racecheck 40 compute-sanitizer --tool racecheck --error-exitcode 9 \
    "$kernels" --device cuda --check --small --filter 'rs('
else
  say 'no compute-sanitizer here: not run'
fi
exit $status
