#!/usr/bin/env bash
# RDMA hosts in virtual machines with an engine between them; --help tells more.
PYTHONPATH=$(cd "$(dirname "$0")" && pwd) exec /usr/bin/env python3 -B -m vm_lab "$@"
