"""`make trade-off`: what start-only pools cost, as a table and a curve for docs/safety.md.

The planner alone, step by step: each new pod reads what is published once the step has been seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from poolbudget.planning import (
    Autoscaler,
    Charge,
    Inputs,
    Pod,
    PodCost,
    PodStage,
    ReserveFor,
    RolloutLimit,
    Target,
    TargetBounds,
    TargetKey,
    Workload,
    plan,
)

REPOSITORY = Path(__file__).parents[2]
USABLE = 155
STEPS = (3, 6, 12, 24, 30)
KEY = TargetKey("Deployment", "api")
QUARTER = RolloutLimit(25, percent=True)
COST = PodCost(1, 0)


@dataclass(frozen=True)
class Variant:
    """One row: `waves` of a rollout that are reserved beside the pods that terminate."""

    name: str
    reserve_for: ReserveFor
    floor: int = 1
    waves: int = 31


VARIANTS = (
    Variant("CurrentPods", ReserveFor.CURRENT_PODS),
    Variant("NextStep, floor 1, no rollout reserved", ReserveFor.NEXT_STEP, waves=0),
    Variant("NextStep, floor 1, one rollout wave", ReserveFor.NEXT_STEP, waves=1),
    Variant("**NextStep, floor 1, a whole generation (default)**", ReserveFor.NEXT_STEP),
    Variant("NextStep, floor 2, a whole generation", ReserveFor.NEXT_STEP, floor=2),
    Variant("MaxReplicas", ReserveFor.MAX_REPLICAS),
)


def caps(variant: Variant) -> list[list[int]]:
    """The cap of each pod, oldest first, after each step."""
    held: list[int] = []
    result = []
    for replicas in STEPS:
        start = _start(variant, held, replicas)
        held = [*held, *([start] * (replicas - len(held)))]
        result.append(list(held))
    return result


def _start(variant: Variant, held: list[int], replicas: int) -> int:
    pods = [
        Pod(str(index), str(index), PodStage.RUNNING, Charge(cap, cap, COST))
        for index, cap in enumerate(held)
    ]
    workload = Workload(replicas, QUARTER, Autoscaler(3, 30, policies=()), QUARTER, variant.waves)
    bounds = TargetBounds(min_per_pool=variant.floor)
    decided = plan(Inputs(USABLE, (Target(KEY, bounds, workload, tuple(pods)),), variant.reserve_for))
    start = decided.target(KEY).start_cap
    if start is None:
        raise RuntimeError("nothing is published although the capacity is known")
    return start


def table() -> str:
    """As Markdown."""
    lines = [
        f"| reserveFor | {' | '.join(str(step) for step in STEPS)} |",
        f"|---|{'---|' * len(STEPS)}",
    ]
    for variant in VARIANTS:
        cells = [f"{held[0]}/{held[-1]} {sum(held) * 100 // USABLE} %" for held in caps(variant)]
        lines.append(f"| {variant.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(path: Path) -> None:
    """Use at the lowest scale against the share of the last pods, for floors and reserves."""
    mpl.rcParams["svg.hashsalt"] = "poolbudget"
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    fair = USABLE / STEPS[-1]
    for variant, colour in zip(
        VARIANTS, ("#d55e00", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#cc79a7"), strict=True
    ):
        courses = caps(variant)
        first, last = courses[0], courses[-1]
        point = (sum(first) / USABLE, min(last) / fair)
        axes.scatter(*point, color=colour, s=60, label=variant.name.replace("*", ""), zorder=3)
    axes.set_xlabel("part of usable that 3 pods hold")
    axes.set_ylabel("smallest cap of 30 pods / fair cap")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_title("What start-only pools get, usable 155", loc="left")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    document = REPOSITORY / "docs" / "safety.md"
    text = document.read_text()
    between = re.compile(r"(?<=<!-- trade-off -->\n).*?(?=<!-- /trade-off -->)", re.DOTALL)
    document.write_text(between.sub(lambda _: f"\n{table()}\n\n", text))
    draw(REPOSITORY / "docs" / "images" / "trade-off.svg")
    print(table())


if __name__ == "__main__":
    main()
