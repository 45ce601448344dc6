#!/usr/bin/env bash
# What a GPU machine can do for Farspan's lab, beside its kernels (gpu_kernels.sh):
#  1. Do two NCCL ranks run an all-reduce on one GPU over the Socket transport, if NCCL_HOSTID
#     differs? Checked and timed size by size with NCCL_MAX_CTAS=2; with time slices, and under MPS
#     where it is there. With one NCCL_HOSTID for both it must be refused.
#  2. Which of namespaces, veth, hugepages, DPDK's af_packet port and tc netem and fq are there?
# Needs Python 3.8 and, for 1, a GPU, nvcc and libnccl with its header. No network. Takes less than
# seven minutes; what it changes (hugepages, MPS) is put back.
# Usage: scripts/gpu_machine.sh DIRECTORY   leaves machine.json, nccl-*.json and machine.log there
# Ends with 0 if both were answered, whatever the answers; with 3 if the machine lacks something.
set -euo pipefail

case ${1:-} in
  '' | -*) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
log=$out/machine.log
scratch=$(mktemp -d)
export PATH=$PATH:/usr/local/cuda/bin
trap 'rm -rf "$scratch"' EXIT

say() { printf 'gpu_machine: %s\n' "$*" | tee -a "$log"; }

# The folder that has lib/libnccl.so* and include/nccl.h.
find_nccl() {
  local library folder
  for library in $(ldconfig -p 2>/dev/null | awk '/libnccl\.so/ {print $NF}') \
    /usr/local/cuda/lib*/libnccl.so* /opt/*/lib*/libnccl.so* \
    $(python3 -c 'import nvidia.nccl as n; print(n.__path__[0] + "/lib/libnccl.so.2")' 2>/dev/null); do
    folder=$(dirname "$(dirname "$library")")
    for header in "$folder/include" "$folder/../include" /usr/include; do
      [[ -e $library && -e $header/nccl.h ]] && { echo "$library $header"; return; }
    done
  done
  return 1
}

# two_ranks NAME HOSTID0 HOSTID1: says how it went.
two_ranks() {
  local name=$1 ids=("$2" "$3") rank pids=() code=0
  say "NCCL, $name: NCCL_HOSTID ${ids[*]}"
  for rank in 0 1; do
    NCCL_HOSTID=${ids[rank]} NCCL_NET=Socket NCCL_IB_DISABLE=1 NCCL_SOCKET_IFNAME=lo \
      NCCL_MAX_CTAS=2 NCCL_DEBUG=INFO NCCL_DEBUG_FILE="$scratch/$name.%p" \
      timeout -k 5 120 "$scratch/nccl_two_ranks" "$rank" 2 "$scratch/$name.id" "$out/nccl-$name.json" \
      >>"$scratch/$name.out" 2>&1 &
    pids+=($!)
  done
  for rank in 0 1; do wait "${pids[rank]}" || code=$?; done
  tee -a "$log" <"$scratch/$name.out"
  grep -hE 'Using network|via (NET|SHM|P2P)|Duplicate GPU|NCCL version|WARN' "$scratch/$name".[0-9]* \
    2>/dev/null | head -20 >>"$log" || true
  say "NCCL, $name: $([[ $code -eq 0 ]] && echo 'ran, every sum exact' || echo "failed (status $code)")"
}

: >"$log"
{
  date -u +%FT%TZ
  echo "commit $(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)"
  uname -srm
  nvidia-smi || echo 'no GPU'
} >>"$log" 2>&1

python3 "$root/scripts/machine_probe.py" --json "$out/machine.json" | tee -a "$log"

nvidia-smi -L >/dev/null 2>&1 || { say 'no GPU here: NCCL was not tried'; exit 3; }
command -v nvcc >/dev/null || { say 'nvcc is missing: NCCL was not tried'; exit 3; }
read -r library header < <(find_nccl) || { say 'no libnccl with nccl.h here: NCCL was not tried'; exit 3; }
say "NCCL is $library"
nvcc -std=c++17 -O2 -I"$header" -o "$scratch/nccl_two_ranks" "$root/tests/gpu/nccl_two_ranks.cu" \
  -Xlinker "$library" -Xlinker "-rpath=$(dirname "$library")" 2>&1 | tee -a "$log" ||
  { say 'the program of two ranks does not build: NCCL was not tried'; exit 3; }

two_ranks two-hostids farspan-site-0 farspan-site-1
two_ranks one-hostid farspan-site farspan-site
if command -v nvidia-cuda-mps-control >/dev/null; then
  export CUDA_MPS_PIPE_DIRECTORY=$scratch/mps CUDA_MPS_LOG_DIRECTORY=$scratch/mps
  mkdir -p "$scratch/mps"
  nvidia-cuda-mps-control -d && two_ranks mps farspan-site-0 farspan-site-1
  echo quit | nvidia-cuda-mps-control >/dev/null || true
else
  say 'no MPS here: not tried'
fi
