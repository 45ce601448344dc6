# shellcheck shell=bash
# Sourced by quickstart.sh and test.sh: packages, builds, and who owns what they write.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me=$(basename "$0" .sh)
export PYTHONPATH=$root/scripts

say() { printf '%s: %s\n' "$me" "$*"; }

# Under sudo, builds run as whoever called it, so that the tree stays theirs.
as_invoker() {
  if [[ $EUID -eq 0 && -n ${SUDO_USER:-} && $SUDO_USER != root && $(stat -c %U "$root") == "$SUDO_USER" ]]; then
    runuser -u "$SUDO_USER" -- "$@"
  else
    "$@"
  fi
}

# install GROUP…: as root installs what is missing, else only looks.
install_packages() {
  if [[ $EUID -eq 0 ]]; then
    "$root/scripts/install_deps.sh" "$@"
  elif ! "$root/scripts/install_deps.sh" --check "$@"; then
    say "without root nothing can be installed; run once: sudo scripts/install_deps.sh $*"
    return 3
  fi
}

# build PRESET [TARGET…]
build() {
  local preset=$1
  shift
  say "building: preset $preset (build/$preset)"
  (
    cd "$root"
    as_invoker cmake --preset "$preset" --log-level=NOTICE -Wno-dev
    as_invoker cmake --build --preset "$preset" ${1:+--target "$@"}
  )
}
