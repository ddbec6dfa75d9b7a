"""What people see: a table, a plot, and the trace of a run that failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table

from poolbudget.simulation.oracles import Course
from poolbudget.simulation.run import Outcome, Policy
from poolbudget.simulation.suite import Summary

TRACE_LINES = 40

# Okabe and Ito's palette, which people with any colour vision can tell apart.
_COLOURS = {
    Policy.AS_REPORTED: "#cc79a7",
    Policy.FORMULA: "#d55e00",
    Policy.STATIC_PEAK: "#0072b2",
    Policy.POOLBUDGET: "#009e73",
}


def table(summaries: Sequence[Summary], title: str) -> Table:
    """One row for each scenario and policy, for 100 columns."""
    result = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 0, 0, 1),
        caption="over: schedules with an overrun; worst, held, alloc.: of usable; time: share of time over; "
        "least: smallest cap; calm: slowest to settle",
        caption_justify="left",
    )
    result.add_column("scenario", max_width=19, no_wrap=True)
    result.add_column("policy", no_wrap=True)
    for name in ("over", "worst", "time", "held", "alloc.", "Jain", "least", "rest.", "writes", "calm"):
        result.add_column(name, justify="right", no_wrap=True)
    for item in summaries:
        result.add_row(
            item.scenario.name,
            item.policy.value,
            f"{item.with_overrun}/{item.schedules}",
            f"{item.worst:.2f}",
            f"{item.mean('time_over'):.0%}",
            f"{item.mean('held'):.2f}",
            f"{item.mean('allocated'):.2f}" if item.policy is Policy.POOLBUDGET else "",
            f"{item.mean('jain'):.2f}",
            str(item.smallest or ""),
            f"{item.mean('restarts'):.0f}",
            f"{item.mean('writes'):.0f}",
            f"{item.slowest:.0f} s" if item.policy is Policy.POOLBUDGET else "",
            style="red" if item.failed else None,
        )
    return result


def figures(item: Summary) -> dict[str, object]:
    """A summary for machines."""
    return {
        "scenario": item.scenario.name,
        "policy": item.policy.value,
        "schedules": item.schedules,
        "withOverrun": item.with_overrun,
        "worst": round(item.worst, 4),
        "timeOver": round(item.mean("time_over"), 4),
        "held": round(item.mean("held"), 4),
        "allocated": round(item.mean("allocated"), 4),
        "jain": round(item.mean("jain"), 4),
        "smallest": item.smallest,
        "restarts": round(item.mean("restarts"), 1),
        "writes": round(item.mean("writes"), 1),
        "slowestToSettle": item.slowest,
        "quietShare": round(item.mean("quiet"), 4),
        "quietJain": round(item.mean("quiet_jain"), 4),
        "saidLate": item.said_late,
        "failedSeeds": [outcome.seed for outcome in item.failed],
    }


def trace(outcome: Outcome, lines: int = TRACE_LINES) -> list[str]:
    """The last events up to the first moment that must not be, or up to the end."""
    events = outcome.trace
    first = next((index for index, (_, words) in enumerate(events) if words.startswith("OVER")), None)
    end = len(events) if first is None else first + 1
    return [f"{at:8.2f} s  {words}" for at, words in events[max(0, end - lines) : end]]


def plot(path: Path, courses: Sequence[tuple[Policy, list[Course]]], title: str) -> None:
    """The sum of what pods may open against usable over time, as SVG or PNG by the path's ending.

    Raises ImportError where matplotlib is not installed (the extra `simulate`).
    """
    import matplotlib as mpl  # noqa: PLC0415 - the simulator works without
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams["svg.hashsalt"] = "poolbudget"
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for policy, course in courses:
        times = [item.at for item in course]
        parts = [item.open / max(1, item.usable) for item in course]
        axes.step(times, parts, where="post", color=_COLOURS[policy], label=policy.value, linewidth=1.4)
    axes.axhline(1.0, color="black", linewidth=1.0, linestyle="--")
    axes.annotate("usable", (0.995, 1.0), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    axes.set_xlabel("seconds")
    axes.set_ylabel("connections that pods may open / usable")
    axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left")
    axes.legend(loc="upper left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
