"""Draws reports of `bench fleet` and `bench latency` as one picture. Run in an environment that has matplotlib:

python bench/plot.py OUTPUT.png REPORT.json…
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS, THEIRS = "#1b6ca8", "#9aa5b1"
Report = dict[str, Any]


def rates(axes: Axes, report: Report) -> None:
    """A bar for the median of each contender, a dot for each round."""
    found = {name: each for name, each in report["contenders"].items() if each["events_per_second"]}
    names = sorted(found, key=lambda name: found[name]["events_per_second"])
    labels = {name: f"{name}\n{found[name]['events_per_second']:,.0f}" for name in names}
    widths = [found[name]["events_per_second"] for name in names]
    axes.barh([labels[name] for name in names], widths, color=[_colour(name) for name in names])
    for name in names:
        dots = [each["events_per_second"] for each in found[name]["rounds"]]
        axes.plot(dots, [labels[name]] * len(dots), "o", color="black", markersize=3)
    axes.set_xlabel("events a second, every output acknowledged")
    axes.set_title(f"{report['events']:,} events of {report['keys']:,} users, one process each", fontsize=10)


def growth(axes: Axes, report: Report) -> None:
    """The rate with many keys as a part of that with few."""
    _ratios(axes, report["growth"]["ratios"])
    axes.set_title(f"rate with {report['growth']['keys']:,} users / {report['growth']['base_keys']:,}", fontsize=10)


def recovery(axes: Axes, report: Report) -> None:
    """Restoring a table beside reading its changelog."""
    found = report["recovery"]
    names = ["bare read", "ours"]
    axes.barh(names, [found["bare_read_per_second"], found["keys_per_second"]], color=[THEIRS, OURS])
    axes.set_xlabel("keys a second")
    axes.set_title(f"a table of {found['keys']:,} keys restored", fontsize=10)


def latency(axes: Axes, report: Report) -> None:
    """p50 and p99 of a lone command, and of a bare round trip."""
    names = ["command applied p99", "round trip p99", "command applied p50", "round trip p50"]
    keys = ["applied_p99_ms", "round_trip_p99_ms", "applied_p50_ms", "round_trip_p50_ms"]
    axes.barh(names, [report[key] for key in keys], color=[OURS, THEIRS, OURS, THEIRS])
    axes.set_xlabel("milliseconds")
    axes.set_title("a lone command, acknowledged to applied", fontsize=10)


def _ratios(axes: Axes, found: dict[str, float]) -> None:
    axes.barh(list(found), list(found.values()), color=[_colour(name) for name in found])
    axes.axvline(1.0, color="black", linewidth=0.5)


def _colour(name: str) -> str:
    return OURS if name.startswith("ours") else THEIRS


def panels(reports: list[Report]) -> list[tuple[Callable[[Axes, Report], None], Report]]:
    """What there is to draw."""
    found: list[tuple[Callable[[Axes, Report], None], Report]] = []
    for report in reports:
        if "contenders" in report:
            found.append((rates, report))
        found += [(draw, report) for key, draw in (("growth", growth), ("recovery", recovery)) if report.get(key)]
        if "applied_p50_ms" in report:
            found.append((latency, report))
    return found


def main(output: Path, files: list[Path]) -> None:
    """Draw one panel below the other; a message and a non-zero exit when there is nothing to draw."""
    try:
        drawn = panels([json.loads(file.read_text("utf-8")) for file in files])
    except (OSError, ValueError) as error:
        sys.exit(f"a report can't be read: {error}")
    if not drawn:
        sys.exit("no report of `bench fleet` or `bench latency` among the files")
    mpl.use("Agg")
    heights = [3.4 if draw is rates else 1.6 for draw, _ in drawn]
    figure = Figure(figsize=(8, sum(heights) + 0.6 * len(heights)), layout="constrained")
    grid = figure.subplots(len(drawn), 1, squeeze=False, height_ratios=heights)
    for (draw, report), axes in zip(drawn, grid[:, 0], strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes, report)
    figure.savefig(output, dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
