"""Rolling a workload to rebalance it (`updateMode: Recreate`), compared with leaving it alone.

30 pods that came by the autoscaler's steps, 3 -> 6 -> 12 -> 24 -> 30, are rolled out with ONE cap that is
fixed for the whole rollout. `lucky` is the largest with which none of these schedules exceeds usable;
`sure` the largest that fits whenever the old pods end, which nobody can know before: what is left beside
them, divided by the number of pods.
"""

from __future__ import annotations

from dataclasses import dataclass

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from poolbudget.planning.sizes import split_cap
from poolbudget.simulation.oracles import jain
from poolbudget.simulation.run import Policy, Run
from poolbudget.simulation.scenario import Scenario, builtin

SCALED = 300.0
ROLLED_OUT = 900.0
STRATEGIES = (("25 %/25 %", "25%", "25%"), ("no surge, one at a time", 0, 1))
ENDINGS = ((0.5, 2.0), (28.0, 30.0))


@dataclass(frozen=True)
class Result:
    """Parts of usable held, and Jain's index of the caps."""

    held: float
    fairness: float
    over: bool
    pods: int
    open: int


def scenario(surge: int | str, unavailable: int | str, terminating: tuple[float, float]) -> Scenario:
    """The steps up, and then the rollout."""
    base = builtin("step-by-step")
    target = base.targets[0].model_copy(
        update={
            "terminating": terminating,
            "max_surge": surge,
            "max_unavailable": unavailable,
            "starting": (0.5, 3.0),
        }
    )
    actions = [action for action in base.actions if action.at < SCALED]
    return base.model_copy(update={"targets": [target], "actions": actions, "duration": ROLLED_OUT})


def play(chosen: Scenario, seed: int, cap: int | None) -> Result:
    """Scale up, then roll out with a fixed cap (None: leave the pods alone)."""
    run = Run(chosen, Policy.POOLBUDGET, seed)
    if cap is not None:
        run.simulation.after(SCALED, lambda: _roll_out(run, cap))
    outcome = run.play(aftermath=False)
    caps = [float(pod.last_cap or 0) for pod in run.world.pods.values() if pod.holds]
    return Result(
        run.world.open / run.world.usable, jain(caps), outcome.overruns > 0, len(caps), run.world.open
    )


def _roll_out(run: Run, cap: int) -> None:
    """The operator would hold everything still for as long as the rollout lasts: here it is gone."""
    for operator in run.operators:
        operator.crash()
    live = run.world.config_maps["api"]
    run.world.write_config_map("api", live.version, split_cap(cap, 70), live.history)
    run.let_everybody_start()
    run.kubernetes.roll_out(run.world.targets["api"])


def largest_safe_cap(chosen: Scenario, seeds: range) -> int:
    """The largest fixed cap with which no schedule exceeds usable; 0 for none."""
    cap = 0
    while not any(play(chosen, seed, cap + 1).over for seed in seeds):
        cap += 1
    return cap


@click.command()
@click.option("--schedules", default=10, show_default=True)
def main(schedules: int) -> None:
    """Compare leaving pods alone with rolling them out."""
    seeds = range(schedules)
    table = Table(title="30 pods, usable 155")
    for name in ("strategy", "pods end within", "before", "Jain", "lucky cap", "then", "sure cap", "then "):
        table.add_column(name, justify="right")
    cases = [(strategy, ending) for strategy in STRATEGIES for ending in ENDINGS]
    for (name, surge, unavailable), ending in track(cases, "Simulating", console=Console(stderr=True)):
        chosen = scenario(surge, unavailable, ending)
        cap = largest_safe_cap(chosen, seeds)
        before = [play(chosen, seed, None) for seed in seeds]
        after = [play(chosen, seed, cap) for seed in seeds] if cap else before
        table.add_row(
            name,
            f"{ending[1]:.0f} s",
            f"{_mean([item.held for item in before]):.0%}",
            f"{_mean([item.fairness for item in before]):.2f}",
            str(cap),
            f"{_mean([item.held for item in after]):.0%}",
            str(min(_sure_cap(item) for item in before)),
            f"{_mean([_sure_cap(item) * item.pods / chosen.usable for item in before]):.0%}",
        )
    Console(width=100).print(table)


def _sure_cap(before: Result) -> int:
    return (builtin("step-by-step").usable - before.open) // before.pods


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
