#!/usr/bin/env bash
# mpirun's way to another host of the lab: rsh_agent.sh ADDRESS COMMAND… runs the command there.
# FARSPAN_LAB_HOSTS says where: "10.77.0.1=NAMESPACE 10.77.0.2=NAMESPACE".
# (mpirun --mca plm_rsh_agent scripts/lab/rsh_agent.sh --host 10.77.0.1,10.77.0.2 …)
set -euo pipefail
address=${1:?usage: rsh_agent.sh ADDRESS COMMAND…}
shift
for host in ${FARSPAN_LAB_HOSTS:?}; do
  if [[ $host == "$address="* ]]; then
    # A host has a name of its own, by which Open MPI tells hosts apart.
    exec ip netns exec "${host#*=}" unshare --uts sh -c "hostname $address; $*"
  fi
done
echo "rsh_agent: this lab has no host $address" >&2
exit 1
