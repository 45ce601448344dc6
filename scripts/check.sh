#!/usr/bin/env bash
# The one entry for what is checked without building: format, layering, function length, banned
# words, shell and Python scripts, Prometheus rules, dashboards. Exit 1 with the list of offences.
# Usage: scripts/check.sh [--only NAME…] [--tidy [FILE…]] [--fix-format] [--help]
exec /usr/bin/env python3 "$(dirname "$0")/check.py" "$@"
