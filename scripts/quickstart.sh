#!/usr/bin/env bash
# A long-haul fiber link between two hosts on this machine, measured; see --help.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

module=lab.quickstart help=0
for arg in "$@"; do
  case $arg in
    -h | --help) help=1 ;;
    --rdma) module=vm_lab.quickstart ;;
  esac
done
if ((help)); then exec /usr/bin/env python3 -B -m $module --help; fi
if command -v python3 >/dev/null; then  # what is misspelt is said before anything is built
  python3 -B -c "from $module import parse_arguments; parse_arguments()" "$@"
fi

if [[ $module == vm_lab.quickstart ]]; then
  install_packages core engine rdma
elif [[ $EUID -eq 0 ]]; then
  install_packages core engine lab
else
  say "not root: the link will run in virtual time, without network namespaces"
  install_packages core engine
fi
build release farspan farspan-emulator farspan-probe
cd "$root"
exec /usr/bin/env python3 -B -m $module "$@"
