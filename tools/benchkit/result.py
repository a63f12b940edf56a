# SPDX-License-Identifier: GPL-2.0-or-later
"""A row of the table: figures, their medians, ratios, budgets."""
import statistics


class Row:
    def __init__(self, key, what, unit, better="less", budget=None):
        self.key, self.what, self.unit, self.better, self.budget = key, what, unit, better, budget
        self.values = {}
        self.known = {}         # figures of an earlier run

    def add(self, who, value):
        self.values.setdefault(who, []).append(value)

    def stat(self, who):
        if who == "floor":      # the quicker way of waiting is the floor
            both = [s for s in (self.stat("floor-sleeps"), self.stat("floor-looks")) if s]
            return min(both, key=lambda s: s["median"]) if both else None
        if who in self.known:
            return self.known[who]
        v = sorted(self.values.get(who, []))
        if not v:
            return None
        q = statistics.quantiles(v, n=4, method="inclusive") if len(v) > 1 else [v[0]] * 3
        return {"median": q[1], "p25": q[0], "p75": q[2], "best": v[0] if self.better == "less" else v[-1],
                "n": len(v)}

    def ratio(self, who):
        a, b = self.stat("xendm"), self.stat(who)
        return a["median"] / b["median"] if a and b and b["median"] else None


def number(x):
    if x is None:
        return "-"
    return f"{x:.0f}" if abs(x) >= 100 or x == int(x) else f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}"


def cell(s):
    if not s:
        return "-"
    if s["n"] == 1:
        return number(s["median"])
    return f"{number(s['median'])} ({number(s['p25'])}..{number(s['p75'])})"


# A budget is (against whom, bound, text): the ratio of the medians must not pass the bound; whom "" is the figure itself.
def judge(row):
    out = []
    for whom, bound, text in row.budget or []:
        v = row.ratio(whom) if whom else (row.stat("xendm") or {}).get("median")
        if v is not None:
            out.append((text, v <= bound if row.better == "less" else v >= bound))
    return out
