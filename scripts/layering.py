"""Which folder may include which: the arrows of the architecture, held by scripts/check.sh.

A file belongs to the longest folder of ALLOWED that contains it. Program mains and their cmd_*.cc
tie everything together and may include anything; so may tests. The sans-IO folders must also keep
away from I/O, clocks, logging and configuration: what they know of time is passed to them.
"""

import re

EMULATOR = ["emulator/base", "emulator/cli", "emulator/link", "emulator/roce", "emulator/config",
            "emulator/sim", "emulator/survey", "emulator/dpdk", "emulator/control"]

# folder -> what it may include besides itself; a name with a suffix is that one header.
ALLOWED = {
    "emulator/base": [],
    "emulator/cli": ["emulator/base"],
    "emulator/link": ["emulator/base"],
    "emulator/roce": ["emulator/base", "emulator/link"],
    "emulator/config": ["emulator/base", "emulator/link", "emulator/roce/rule_match.h",
                        "emulator/roce/ip_address.h", "emulator/roce/observer_spec.h"],
    "emulator/sim": ["emulator/base", "emulator/link"],
    "emulator/survey": ["emulator/base", "emulator/link", "emulator/sim"],
    # The engine stands behind the interface that the control plane defines, and only behind that.
    "emulator/dpdk": ["emulator/base", "emulator/link", "emulator/roce", "emulator/config",
                      "emulator/control/engine_control.h"],
    "emulator/control": ["emulator/base", "emulator/link", "emulator/config",
                         "emulator/roce/qp_counters.h"],
    "emulator": EMULATOR,
    "transports/core": ["emulator/base", "kernels/kernels.h"],
    "transports/congestion": ["emulator/base", "transports/core"],
    # What others build against: it stands alone.
    "transports/abi": [],
    "transports/doors": ["emulator/base", "transports/abi", "transports/core",
                         "transports/drivers/monotonic.h"],
    "transports/collectives": ["emulator/base", "transports/core"],
    "transports/drivers": ["emulator/base", "transports/core"],
    "transports/drivers/sim": ["emulator/base", "emulator/link", "emulator/sim", "transports/core"],
    "transports/baselines": ["emulator/base", "transports/core", "transports/drivers/address.h",
                             "transports/drivers/monotonic.h",
                             "transports/drivers/verbs/device.h", "transports/drivers/verbs/gid.h"],
    "transports": ["emulator", "transports", "kernels"],
    "kernels": [],
    "tests": ["emulator", "transports", "kernels"],
}

SANS_IO = ["emulator/base", "emulator/link", "emulator/sim", "emulator/roce", "transports/core",
           "transports/congestion", "transports/collectives"]

IO_HEADER = re.compile(
    r"<(rte_|spdlog/|toml\+\+/|toml\.hpp|boost/|httplib|prometheus/|nlohmann/|sys/|netinet/|arpa/|"
    r"net/|linux/|unistd\.h|poll\.h|pthread\.h|time\.h|ctime|chrono|thread|mutex|filesystem|"
    r"infiniband/|x86intrin)")
IO_TOKEN = re.compile(
    r"std::chrono::\w*clock|\bclock_gettime\b|\bgettimeofday\b|\b__?rdtscp?\b|\brte_\w+\(|"
    r"\bstd::random_device\b|\bstd::cout\b|\bstd::cerr\b|\bsocket\(")
INCLUDE = re.compile(r'^\s*#\s*include\s+("([^"]+)"|<[^>]+>)')
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def is_inside(path, folder):
    return path == folder or path.startswith(folder + "/")


def owner(path):
    """The folder of ALLOWED that `path` belongs to, or None."""
    return max((f for f in ALLOWED if is_inside(path, f)), key=len, default=None)


def ties_everything(path):
    name = path.rsplit("/", 1)[-1]
    return name == "main.cc" or name.startswith("cmd_")


def without_comments(text):
    return COMMENT.sub(lambda m: "\n" * m.group().count("\n"), text)


def offences(path, text):
    """["path:line: what"] for one C++ file."""
    found = []
    folder = owner(path)
    sans_io = any(is_inside(path, f) for f in SANS_IO)
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        where = f"{path}:{number}"
        match = INCLUDE.match(line)
        if match and match.group(2):
            found += _include_offence(where, path, folder, match.group(2))
        elif match and sans_io and IO_HEADER.match(match.group(1)):
            found.append(f"{where}: {match.group(1)} has no place in sans-IO code")
        elif sans_io and (token := IO_TOKEN.search(line)):
            found.append(f"{where}: '{token.group()}' has no place in sans-IO code")
    return found


def _include_offence(where, path, folder, target):
    if folder is None or ties_everything(path):
        return []
    if owner(target) is None:
        return [f"{where}: \"{target}\" is not given from the repository's root"]
    allowed = ALLOWED[folder] + [folder]
    if any(is_inside(target, a) for a in allowed):
        return []
    return [f"{where}: {folder} must not include \"{target}\""]


def self_test():
    """The checker must see planted violations, and must leave good code alone."""
    bad = [
        ("emulator/link/a.cc", '#include "emulator/config/schema.h"\n'),
        ("emulator/base/a.h", '#include "emulator/link/link.h"\n'),
        ("emulator/link/a.cc", "#include <rte_mbuf.h>\n"),
        ("emulator/sim/a.cc", "auto t = std::chrono::steady_clock::now();\n"),
        ("emulator/roce/a.cc", "x = __rdtsc();\n"),
        ("emulator/control/a.cc", '#include "emulator/dpdk/engine.h"\n'),
        ("emulator/dpdk/a.cc", '#include "emulator/control/http_server.h"\n'),
        ("kernels/cpu/a.cc", '#include "emulator/base/time.h"\n'),
        ("transports/drivers/udp/a.cc", '#include "emulator/sim/scheduler.h"\n'),
        ("emulator/link/a.cc", '#include "link.h"\n'),
    ]
    good = [
        ("emulator/link/a.cc", '#include "emulator/base/time.h"\n#include <vector>\n'),
        ("emulator/link/a.cc", "// never std::chrono::steady_clock, never <rte_mbuf.h>\n"),
        ("emulator/dpdk/a.cc", '#include "emulator/control/engine_control.h"\n#include <rte_eal.h>\n'),
        ("emulator/cmd_run.cc", '#include "emulator/dpdk/engine.h"\n'),
        ("emulator/main.cc", '#include "emulator/control/http_server.h"\n'),
        ("transports/drivers/sim/a.cc", '#include "emulator/sim/scheduler.h"\n'),
    ]
    failed = [f"layering self-test: planted violation not seen: {p}: {t.strip()}"
              for p, t in bad if not offences(p, t)]
    failed += [f"layering self-test: good code reported: {o}" for p, t in good
               for o in offences(p, t)]
    return failed
