#!/usr/bin/env python3
"""What of the lab's needs a machine has: network namespaces, veth, tc netem and fq, AF_PACKET rings
as DPDK's af_packet port uses them, hugepages. Each is tried, not looked up, in a network namespace
of its own by the kernel's own interfaces, so that nothing but Python and root is needed.

Usage: machine_probe.py [--json FILE]
"""

import argparse
import ctypes
import errno
import json
import mmap
import os
import platform
import shutil
import socket
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000

# rtnetlink(7), tc's pkt_sched.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
RTM_NEWLINK, RTM_NEWQDISC = 16, 36
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 3, 18, 1, 2, 1
TCA_KIND, TCA_OPTIONS, TC_H_ROOT = 1, 2, 0xFFFFFFFF
IFF_UP = 1

# packet(7)
SOL_PACKET, PACKET_RX_RING, PACKET_VERSION, PACKET_TX_RING = 263, 5, 10, 13
PACKET_LOSS, PACKET_QDISC_BYPASS, TPACKET_V2, ETH_P_ALL = 14, 20, 1, 3


def attribute(kind, payload):
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def netlink(kind, flags, payload):
    """Sends one request and raises OSError unless the kernel acknowledges it."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as s:
        s.settimeout(5)
        s.bind((0, 0))
        s.send(struct.pack("=IHHII", 16 + len(payload), kind,
                           flags | NLM_F_REQUEST | NLM_F_ACK, 1, 0) + payload)
        error, = struct.unpack_from("=i", s.recv(65536), 16)
        if error == -errno.ENOENT and kind == RTM_NEWQDISC:
            raise OSError(0, "the kernel does not know it")
        if error:
            raise OSError(-error, os.strerror(-error))


def link(index=0, up=False):
    return struct.pack("=BxHiII", 0, 0, index, IFF_UP if up else 0, IFF_UP if up else 0)


def own_namespace():
    if LIBC.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def make_veth():
    own_namespace()
    peer = attribute(VETH_INFO_PEER, link() + attribute(IFLA_IFNAME, b"probe1\0"))
    info = attribute(IFLA_INFO_KIND, b"veth") + attribute(IFLA_INFO_DATA, peer)
    netlink(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
            link() + attribute(IFLA_IFNAME, b"probe0\0") + attribute(IFLA_LINKINFO, info))
    for name in ("probe0", "probe1"):
        netlink(RTM_NEWLINK, 0, link(socket.if_nametoindex(name), up=True))


def qdisc(name, options=b""):
    """Adds a root qdisc to a veth: the module is loaded if need be."""
    make_veth()
    message = struct.pack("=BxxxiIII", 0, socket.if_nametoindex("probe0"), 0x10000, TC_H_ROOT, 0)
    message += attribute(TCA_KIND, name.encode() + b"\0")
    if options:
        message += attribute(TCA_OPTIONS, options)
    netlink(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, message)


def netem():
    limit_packets, latency, loss = 1000, 0, 0
    qdisc("netem", struct.pack("=IIIIII", latency, limit_packets, loss, 0, 0, 0))


def af_packet():
    """Rings in memory on one end of a veth, as DPDK's net_af_packet asks for them; a frame that
    the other end sends arrives in the ring."""
    make_veth()
    block_bytes, blocks, frame_bytes = 4096, 16, 2048
    ring = struct.pack("=IIII", block_bytes, blocks, frame_bytes, blocks * 2)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as receiver:
        receiver.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        receiver.setsockopt(SOL_PACKET, PACKET_LOSS, 1)
        receiver.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        receiver.setsockopt(SOL_PACKET, PACKET_RX_RING, ring)
        receiver.setsockopt(SOL_PACKET, PACKET_TX_RING, ring)
        receiver.bind(("probe1", ETH_P_ALL))
        memory = mmap.mmap(receiver.fileno(), 2 * block_bytes * blocks, mmap.MAP_SHARED,
                           mmap.PROT_READ | mmap.PROT_WRITE)
        frame = b"\xff" * 12 + b"\x88\xb5" + b"farspan".ljust(50, b"\0")  # 0x88b5: for experiments
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("probe0", 0))
            sender.send(frame)
        arrived = frame in memory[:block_bytes * blocks]
        memory.close()
    if not arrived:
        raise OSError(0, "the rings are there, but no frame arrived")


def hugepages():
    """Reserves eight hugepages more, maps one and writes to it, and gives them back."""
    path = "/proc/sys/vm/nr_hugepages"
    with open(path, encoding="ascii") as f:
        before = int(f.read())
    try:
        with open(path, "w", encoding="ascii") as f:
            f.write(str(before + 8))
        size = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo", encoding="ascii")
                    if line.startswith("Hugepagesize"))
        map_hugetlb = 0x40000
        with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | map_hugetlb) as memory:
            memory[0] = 1
    finally:
        with open(path, "w", encoding="ascii") as f:
            f.write(str(before))


def hugetlbfs():
    if "hugetlbfs" not in open("/proc/filesystems", encoding="ascii").read():
        raise OSError(0, "not in /proc/filesystems")


PROBES = {
    "network namespaces": own_namespace,
    "veth": make_veth,
    "tc pfifo": lambda: qdisc("pfifo"),
    "tc netem": netem,
    "tc fq": lambda: qdisc("fq"),
    "tc fq_codel": lambda: qdisc("fq_codel"),
    "AF_PACKET rings (DPDK af_packet)": af_packet,
    "hugepages": hugepages,
    "hugetlbfs": hugetlbfs,
}


def tried(probe):
    """Runs `probe` in a process of its own, whose namespaces go with it; None, or why it failed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            probe()
            answer = ""
        except Exception as error:  # whatever stands in the way is the answer
            answer = error.strerror if isinstance(error, OSError) else repr(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return answer or (None if status == 0 else f"ended with status {status}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("machine_probe: needs root")
    found = {name: tried(probe) for name, probe in PROBES.items()}
    programs = {name: shutil.which(name)
                for name in ("ip", "tc", "ethtool", "dpdk-testpmd", "qemu-system-x86_64")}
    for name, why_not in found.items():
        print(f"{name:36} {'no: ' + why_not if why_not else 'yes'}")
    print("programs:", ", ".join(name for name, path in programs.items() if path) or "none")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as f:
            json.dump({"schema": "farspan.machine.v1", "kernel": platform.release(),
                       "cpus": os.cpu_count(), "programs": programs,
                       "works": {name: why_not is None for name, why_not in found.items()},
                       "why_not": {name: w for name, w in found.items() if w}}, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
