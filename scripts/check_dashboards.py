#!/usr/bin/env python3
"""Checks grafana/ against the catalogue of metrics, grafana/metrics.json.

Every panel, template variable, recording rule and alert may name only metrics of the catalogue (with a
histogram's suffixes), those that a recording rule makes, and `up`; and only labels that the metric
has. A unit test holds grafana/metrics.json to what the emulator exports. Exit code: 0 or 1.
"""

import json
import re
import sys
from pathlib import Path

try:
    import yaml
except ImportError:
    sys.exit("python3-yaml is missing: apt install python3-yaml")

GRAFANA = Path(__file__).resolve().parent.parent / "grafana"
SCRAPE_LABELS = {"job", "instance"}
KEYWORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless",
            "bool", "offset", "inf", "nan"}
STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
WORD = re.compile(r"[a-zA-Z_:][\w:]*")
LABEL_VALUES = re.compile(r"label_values\((.*),\s*(\w+)\)$")


class Catalogue:
    def __init__(self, metrics):
        self.labels = {}
        for metric in metrics:
            labels = set(filter(None, metric["labels"].split(","))) | SCRAPE_LABELS
            if metric["type"] == "histogram":
                self.labels[metric["name"] + "_bucket"] = labels | {"le"}
                self.labels[metric["name"] + "_sum"] = labels
                self.labels[metric["name"] + "_count"] = labels
            else:
                self.labels[metric["name"]] = labels
        self.labels["up"] = set(SCRAPE_LABELS)

    def add_recorded(self, name, expression):
        """A recorded metric may have any label of what it is made from."""
        labels = set(SCRAPE_LABELS)
        for metric in metric_names(expression):
            labels |= self.labels.get(metric, set())
        self.labels[name] = labels


def metric_names(expression):
    text = GROUPING.sub(" ", STRING.sub('""', expression))
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"\b\d[\w.]*(?:[eE][+-]?\d+)?", " ", text)
    return [m.group() for m in WORD.finditer(text)
            if m.group() not in KEYWORDS and not re.match(r"\s*\(", text[m.end():])]


def offences(expression, catalogue):
    names = metric_names(expression)
    if not names:
        return [f"no metric in: {expression}"]
    found = [f"{name} is not in the catalogue" for name in names if name not in catalogue.labels]
    if found:
        return found
    bare = STRING.sub('""', expression)
    for name, matchers in SELECTOR.findall(bare):
        for label in WORD.findall(matchers):
            if label not in catalogue.labels.get(name, set()):
                found.append(f"{name} has no label {label}")
    known = set().union(*(catalogue.labels[name] for name in names))
    for clause, labels in GROUPING.findall(bare):
        found += [f"{clause} ({label}): none of {', '.join(sorted(set(names)))} has it"
                  for label in WORD.findall(labels) if label not in known]
    return found


def rule_expressions(path):
    """[(where, expression, name of what it records or None)]"""
    groups = yaml.safe_load(path.read_text()).get("groups", [])
    return [(f"{path.name}: {rule.get('record') or rule.get('alert')}", rule["expr"],
             rule.get("record")) for group in groups for rule in group["rules"]]


def panel_expressions(path):
    dashboard = json.loads(path.read_text())
    found = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            found.append((f"{path.name}: panel \"{panel['title']}\"", target["expr"]))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            found.append((f"{path.name}: variable {variable['name']}", variable["query"]["query"]))
    return found


def dashboard_offences(path):
    dashboard = json.loads(path.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    found = [] if len(ids) == len(set(ids)) else [f"{path.name}: a panel's id is used twice"]
    return found + [f"{path.name}: panel \"{panel['title']}\" says not what it shows"
                    for panel in dashboard["panels"]
                    if panel["type"] != "row" and not panel.get("description")]


def variable_offences(expression, catalogue):
    match = LABEL_VALUES.match(expression)
    if not match:
        return [f"expected label_values(METRIC, LABEL): {expression}"]
    metric, label = match.groups()
    found = offences(metric, catalogue)
    name = metric_names(metric)[0] if not found else None
    if name and label not in catalogue.labels[name]:
        found.append(f"{name} has no label {label}")
    return found


def self_test(catalogue):
    """Planted faults must be seen, and good expressions must pass."""
    bad = ["farspan_link_offered_packets", "rate(farspan_port_lateness_seconds[1m])", "1 + 2",
           'farspan_engine_valid{link="a"}', "sum by (cause) (farspan_engine_valid)",
           "farspan_engine_valid + on (port) farspan_link_lanes", "node_load1"]
    good = ['sum by (link) (rate(farspan_link_offered_packets_total{direction="by node_load1"}[5m]))',
            "abs(farspan_engine_clock_error_ratio) > 5e-6 and on (instance) up offset 5m",
            "histogram_quantile(0.5, rate(farspan_port_lateness_seconds_bucket[$__rate_interval]))"]
    found = [f"self-test: planted fault not seen: {e}" for e in bad if not offences(e, catalogue)]
    return found + [f"self-test: good expression refused: {e}: {o}" for e in good
                    for o in offences(e, catalogue)]


def main():
    catalogue = Catalogue(json.loads((GRAFANA / "metrics.json").read_text())["metrics"])
    found = self_test(catalogue)
    rules = [rule for path in sorted((GRAFANA / "rules").glob("*.yml"))
             for rule in rule_expressions(path)]
    for _, expression, recorded in rules:
        if recorded:
            catalogue.add_recorded(recorded, expression)
    for where, expression, _ in rules:
        found += [f"{where}: {o}" for o in offences(expression, catalogue)]
    dashboards = sorted((GRAFANA / "dashboards").glob("*.json"))
    for path in dashboards:
        found += dashboard_offences(path)
        for where, expression in panel_expressions(path):
            check = variable_offences if ": variable " in where else offences
            found += [f"{where}: {o}" for o in check(expression, catalogue)]
    if not rules or not dashboards:
        found.append("no rules or no dashboards: nothing was checked")
    print("\n".join(found) or f"{len(rules)} rules and {len(dashboards)} dashboards: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
