#!/usr/bin/env bash
# The namespace lab by hand. Usage: sudo scripts/lab.sh clean|shell [OPTIONS]; --help tells more.
PYTHONPATH=$(cd "$(dirname "$0")" && pwd) exec /usr/bin/env python3 -B -m lab "$@"
