#!/usr/bin/env python3
"""Draws the losses that tests/bench/error_feedback prints: how far each curve is above exact sums.

Usage: build/release/tests/bench/error_feedback | docs/plots/error_feedback.py > docs/plots/error_feedback.svg
"""
import json
import math
import sys

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 80, 190, 40, 50
LOW, HIGH = 1e-6, 1e-1  # of the relative distance, a logarithmic axis
STYLES = {"fp8": ("#c0504d", ""), "fp8, error feedback": ("#c0504d", "6 3"),
          "int8": ("#1f5fa8", ""), "int8, error feedback": ("#1f5fa8", "6 3")}


def main():
    curves = {curve["name"]: curve["loss"] for curve in json.load(sys.stdin)["curves"]}
    exact = curves.pop("exact")
    last = len(exact) - 1

    def x(step):
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(distance):
        part = math.log(min(max(distance, LOW), HIGH) / LOW) / math.log(HIGH / LOW)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="22" font-size="14">Loss above that of exact sums, '
           f'|loss / exact - 1| (exact: {exact[0]:.3f} to {exact[-1]:.3f})</text>']
    for exponent in range(-6, 0):
        at = y(10.0 ** exponent)
        out.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" '
                   'stroke="#dddddd"/>')
        label = f"{100 * 10.0 ** exponent:g} %"
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{label}</text>')
    bound = y(0.01)
    out.append(f'<line x1="{LEFT}" y1="{bound:.1f}" x2="{WIDTH - RIGHT}" y2="{bound:.1f}" '
               'stroke="black"/>')
    out.append(f'<text x="{WIDTH - RIGHT + 8}" y="{bound + 4:.1f}">the bound, 1 %</text>')
    for step in range(0, last + 1, 100):
        out.append(f'<text x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 18}" '
                   f'text-anchor="middle">{step}</text>')
    out.append(f'<text x="{x(last / 2):.1f}" y="{HEIGHT - 10}" text-anchor="middle">step</text>')
    for i, (name, losses) in enumerate(curves.items()):
        colour, dash = STYLES[name]
        points = " ".join(f"{x(s):.1f},{y(abs(losses[s] / exact[s] - 1)):.1f}"
                          for s in range(1, last + 1, 2))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" '
                   f'stroke-width="1.6" stroke-dasharray="{dash}"/>')
        at = TOP + 170 + 18 * i
        out.append(f'<line x1="{WIDTH - RIGHT + 8}" y1="{at}" x2="{WIDTH - RIGHT + 38}" y2="{at}" '
                   f'stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dash}"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 44}" y="{at + 4}">{name}</text>')
    out.append("</svg>")
    print("\n".join(out))


if __name__ == "__main__":
    main()
