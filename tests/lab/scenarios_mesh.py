"""Five sites in one mesh, each pair with its own distance from the route library."""

import itertools
import json

from harness import engine, own_drops, scenario
from lab import measure, table
from lab.engine import binary
from lab.stats import median
from lab.system import run
from lab.topology import Lab

SITES = ("Chicago", "New York", "Ashburn", "Dallas", "London")
RTT_TOLERANCE_NS = 100_000
PROBES = 120
ROUNDS = 3  # floor and mesh in turn: a machine that others share has slower and faster minutes


def _code(site):
    return site.replace(" ", "").lower()[:8]


def _routes():
    farspan = binary("farspan", "transports")
    return {pair: json.loads(run(farspan, "route", *pair, "--json"))
            for pair in itertools.combinations(SITES, 2)}


def _configuration(lab, routes, zero):
    """The mesh as TOML; with `zero` every path is replaced by none, for the floor."""
    lines = ['mode = "mesh"', "[engine]", 'max_packet_rate = "5 kpps"']
    for site in SITES:
        network = lab.hosts[_code(site)].address.rsplit(".", 1)[0] + ".0/24"
        lines += ["[[sites]]", f'name = "{_code(site)}"', f'port = "{_code(site)}"',
                  f'prefixes = ["{network}"]', f'city = "{site}"']
    for a, b in routes:
        lines += ["[[links]]", f'name = "{_code(a)}-{_code(b)}"', f'a = "{_code(a)}"',
                  f'b = "{_code(b)}"', 'rate = "1 Gbps"', *(['delay = "0 ms"'] if zero else [])]
    file = lab.directory / ("zero.toml" if zero else "mesh.toml")
    file.write_text("\n".join(lines) + "\n")
    return file


def _round_trips(lab, routes, count):
    trips = {}
    for pair in routes:
        a, b = (lab.hosts[_code(site)] for site in pair)
        with measure.kept_warm(a, b):
            trips[pair] = measure.probe_rtt(a, b, count=count)["rtt_ns"]["p50"]
    return trips


@scenario
def mesh(rows):
    """Every pair's RTT in one table; ARP crosses the mesh like everything else."""
    routes = _routes()
    with Lab([_code(s) for s in SITES], static_neighbours=False, site_prefixes=True) as lab:
        floors, trips, lost = [], [], 0
        for _ in range(ROUNDS):
            with engine(lab, "--config", _configuration(lab, routes, zero=True)):
                floors.append(_round_trips(lab, routes, PROBES))
            with engine(lab, "--config", _configuration(lab, routes, zero=False)) as running:
                trips.append(_round_trips(lab, routes, PROBES))
                lost += own_drops(running)
        rows.append(table.exactly("own drops", 0, lost))
        for pair, route in routes.items():
            glass = f", {route['glass_km']:.0f} km of glass" if route["glass_km"] else ""
            floor = median([f[pair] for f in floors])
            beyond = median([t[pair] - f[pair] for t, f in zip(trips, floors)])
            rows.append(table.within(
                " - ".join(pair), route["rtt_ns"], beyond, RTT_TOLERANCE_NS, "ms", 1e6,
                f"{route['label']}{glass}; floor {floor / 1e3:.0f} us, taken off"))
