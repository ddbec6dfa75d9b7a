"""`make bench-allocation`: how long the fair shares of 1,000 targets take."""

from __future__ import annotations

import random
import statistics
import time

from rich.console import Console
from rich.table import Table

from poolbudget.planning.inputs import PodCost
from poolbudget.planning.shares import Claim, Group, fair_caps

TARGETS = 1000
ROUNDS = 200


def claims(heaviest: int, groups: int) -> list[Claim]:
    """Targets of 1 to 30 pods, with floors, limits and weights."""
    chance = random.Random(1)
    return [
        Claim(
            chance.randint(1, 5),
            chance.randint(20, 200),
            chance.randint(1, heaviest),
            tuple(
                Group(chance.randint(1, 30), PodCost(chance.randint(1, 4), 0), 40 * number)
                for number in range(groups)
            ),
        )
        for _ in range(TARGETS)
    ]


def main() -> None:
    """Median and worst of many rounds, in milliseconds."""
    table = Table(title=f"Fair shares of {TARGETS} targets, {ROUNDS} rounds", title_justify="left")
    for name in ("weights", "groups of pods each", "median ms", "worst ms"):
        table.add_column(name, justify="right")
    for heaviest, groups in ((1, 1), (5, 1), (5, 3)):
        wanted = claims(heaviest, groups)
        usable = sum(claim.at(claim.floor) for claim in wanted) + 150_000
        taken = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            fair_caps(usable, wanted)
            taken.append(1000 * (time.perf_counter() - started))
        weights = "1" if heaviest == 1 else f"1 to {heaviest}"
        table.add_row(weights, str(groups), f"{statistics.median(taken):.1f}", f"{max(taken):.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
