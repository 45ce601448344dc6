"""Asked for against measured: one row per claim, as text and as JSON."""

import dataclasses


@dataclasses.dataclass
class Row:
    name: str
    asked: str
    measured: str
    passed: bool
    note: str = ""
    values: dict = dataclasses.field(default_factory=dict)  # the bare numbers, for machines

    def to_json(self):
        return {"name": self.name, "asked": self.asked, "measured": self.measured,
                "pass": self.passed, "note": self.note, "values": self.values}


NOTE_COLUMNS = 90  # longer notes are whole in the JSON


def _short(note):
    return note if len(note) <= NOTE_COLUMNS else note[:NOTE_COLUMNS - 1] + "…"


def text(rows):
    header = ("", "asked for", "measured", "", "")
    lines = [(r.name, r.asked, r.measured, "pass" if r.passed else "FAIL", _short(r.note))
             for r in rows]
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(5)]
    out = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
           for line in [header, *lines]]
    out.insert(1, "-" * max(map(len, out)))
    return "\n".join(out)


def within(name, asked, measured, tolerance, unit, scale=1.0, note=""):
    """A row that passes if |measured - asked| <= tolerance; shown as value / scale in `unit`."""
    digits = max(0, 5 - len(f"{abs(asked) / scale:.0f}"))
    return Row(name, f"{asked / scale:.{digits}f} ± {tolerance / scale:.3g} {unit}",
               f"{measured / scale:.{digits}f} {unit}", abs(measured - asked) <= tolerance, note,
               {"asked": asked, "measured": measured, "tolerance": tolerance})


def exactly(name, asked, measured, note=""):
    return Row(name, str(asked), str(measured), asked == measured, note,
               {"asked": asked, "measured": measured})
