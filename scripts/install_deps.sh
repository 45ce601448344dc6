#!/usr/bin/env bash
# Installs what Farspan needs from the distribution's own packages (apt), and only what is missing.
# Usage: scripts/install_deps.sh [--check] [GROUP…]     groups: core engine lab rdma tools (default: core engine lab)
#   --check   install nothing; list what is missing and exit 1 if anything is
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
list=$here/packages.txt

usage() { sed -n '2,4s/^# \{0,1\}//p' "$0"; }

say() { printf 'install_deps: %s\n' "$*"; }

is_installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }

is_known() { apt-cache show "$1" >/dev/null 2>&1; }

# Fills `missing` (lines of packages.txt none of whose names is installed).
find_missing() {
  missing=()
  local group names name
  while read -r group names; do
    [[ " ${groups[*]} " == *" $group "* ]] || continue
    for name in $names; do
      is_installed "$name" && continue 2
    done
    missing+=("$names")
  done < <(grep -v -e '^#' -e '^$' "$list")
}

# Fills `wanted` and `unknown` from `missing`.
choose_names() {
  wanted=() unknown=()
  local names name
  for names in "${missing[@]}"; do
    for name in $names; do
      if is_known "$name"; then
        wanted+=("$name")
        continue 2
      fi
    done
    unknown+=("$names")
  done
}

# prometheus is wanted for promtool only; a fresh install must not leave a server running.
stop_new_services() {
  [[ " ${wanted[*]} " == *" prometheus "* && -d /run/systemd/system ]] || return 0
  say "prometheus is needed for promtool only: disabling the service that its package started"
  systemctl disable --now prometheus
}

install_missing() {
  if [[ $EUID -ne 0 ]]; then
    say "not root, so nothing can be installed; run: sudo $0 ${groups[*]}"
    exit 3
  fi
  say "updating the package lists"
  apt-get update -qq || say "apt-get update failed; going on with the lists at hand"
  choose_names
  if ((${#unknown[@]})); then
    say "this distribution has no package named: ${unknown[*]}"
    say "Debian 12 and Ubuntu 24.04 have all of them (Ubuntu: enable the 'universe' component)"
    exit 3
  fi
  say "installing: ${wanted[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}"
  stop_new_services
}

check_cmake() {
  local version
  version=$(cmake --version | sed -n '1s/[^0-9]*//p')
  if [[ $(printf '%s\n3.25\n' "$version" | sort -V | head -1) != 3.25 ]]; then
    say "cmake is $version, but 3.25 or later is needed: Debian 12 and Ubuntu 24.04 have it"
    exit 3
  fi
}

check_only=0 groups=()
for arg in "$@"; do
  case $arg in
    -h | --help) usage && exit 0 ;;
    --check) check_only=1 ;;
    core | engine | lab | rdma | tools) groups+=("$arg") ;;
    *) say "unknown argument '$arg'" && usage && exit 2 ;;
  esac
done
((${#groups[@]})) || groups=(core engine lab)
if ! command -v apt-get >/dev/null; then
  say "no apt here: install the equivalents of scripts/packages.txt by hand"
  exit 3
fi

find_missing
if ((${#missing[@]} == 0)); then
  say "all packages of ${groups[*]} are there"
elif ((check_only)); then
  say "missing: ${missing[*]}"
  exit 1
else
  install_missing
fi
check_cmake
