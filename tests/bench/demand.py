"""`make bench-demand`: shares by demand in 100 skewed cases, beside equal ones and the best there is."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import track
from rich.table import Table

from poolbudget.simulation.demand import Result, play, skewed_cases

_CASES = 100


def main() -> None:
    """Print how often any pool is saturated, and the mean wait as a multiple of the least there is."""
    console = Console(width=100)
    cases = list(skewed_cases(_CASES))
    progress = track(cases, "Playing", console=Console(stderr=True), transient=True)
    results = [play(case, seed) for seed, case in enumerate(progress)]
    table = Table(title=f"{_CASES} skewed cases, 155 usable", title_justify="left")
    for name in ("shares", "cases with a saturated pool", "sum of waits", "median", "90 of 100", "worst"):
        table.add_column(name, justify="right" if name != "shares" else "left")
    rows: dict[str, Callable[[Result], Sequence[Sequence[int]]]] = {
        "equal": lambda item: [item.equal],
        "by demand": lambda item: item.by_demand,
        "the best": lambda item: [item.best],
    }
    for name, caps in rows.items():
        table.add_row(name, *_figures(results, caps))
    console.print(table)
    changes = sorted(item.changes for item in results)
    console.print(f"changes in the last 5 minutes: median {changes[_CASES // 2]}, at most {changes[-1]}")


def _figures(results: Sequence[Result], caps: Callable[[Result], Sequence[Sequence[int]]]) -> list[str]:
    saturated = sum(any(item.saturated(each) for each in caps(item)) for item in results)
    waits = [statistics.fmean(item.mean_wait(each) for each in caps(item)) for item in results]
    least = [item.mean_wait(item.best) for item in results]
    ratios = sorted(wait / best for wait, best in zip(waits, least, strict=True))
    total = sum(waits) / sum(least)
    figures = (total, statistics.median(ratios), ratios[len(ratios) * 9 // 10], ratios[-1])
    return [str(saturated), *(f"{figure:.2f}" for figure in figures)]


if __name__ == "__main__":
    main()
