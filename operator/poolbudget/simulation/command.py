"""`poolbudget simulate`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from poolbudget.simulation import report
from poolbudget.simulation.run import Policy, Run
from poolbudget.simulation.scenario import Scenario, ScenarioError, builtin, builtin_names, load
from poolbudget.simulation.suite import Summary, policies_for, run_all, schedule, shortest_failure

_WIDTH = 100
_EVERYTHING = tuple(Policy)


@click.command()
@click.option(
    "--file", "-f", "files", type=click.Path(path_type=Path), multiple=True, help="A scenario file."
)
@click.option("--scenario", "-s", "names", multiple=True, help="A scenario that comes along.")
@click.option("--list", "only_list", is_flag=True, help="List the scenarios that come along.")
@click.option("--suite", is_flag=True, help="All scenarios that come along.")
@click.option("--policy", "policies", type=click.Choice([item.value for item in Policy]), multiple=True)
@click.option("--schedules", "-n", default=20, show_default=True, help="Schedules (seeds) of each scenario.")
@click.option("--seed", default=0, show_default=True, help="The first seed.")
@click.option("--processes", default=None, type=int, help="Processes; all cores by default.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the first seed's course, SVG or PNG.")
@click.option("--trace", "wants_trace", is_flag=True, help="Print what happens with the first seed.")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def simulate(
    files: tuple[Path, ...],
    names: tuple[str, ...],
    only_list: bool,
    suite: bool,
    policies: tuple[str, ...],
    schedules: int,
    seed: int,
    processes: int | None,
    plot: Path | None,
    wants_trace: bool,
    output: str,
) -> None:
    """Try to break the bound: a model of a cluster around the real planner.

    Ends with 1 if PoolBudget exceeds usable in a scenario inside its assumptions, or does not come to
    rest where it should. Without a scenario: churn.
    """
    console = Console(width=_WIDTH, stderr=output == "json")
    if only_list:
        _print_list(console)
        return
    chosen = [Policy(item) for item in policies] or list(_EVERYTHING)
    scenarios = _scenarios(files, builtin_names() if suite else names)
    if wants_trace:
        _print_trace(console, scenarios[0], seed)
        return
    seeds = range(seed, seed + schedules)
    summaries = _run(console, scenarios, chosen, seeds, processes)
    if output == "json":
        click.echo(json.dumps([report.figures(item) for item in summaries], indent=2))
    else:
        _print_tables(console, summaries)
    if plot is not None:
        _draw(plot, scenarios[0], chosen, seed)
    failures = [item for item in summaries if item.failed]
    for item in failures:
        _explain(console, item, files)
    sys.exit(1 if failures else 0)


def _scenarios(files: Sequence[Path], names: Sequence[str]) -> list[Scenario]:
    """Those that were asked for: first what has to hold, then what is outside the assumptions."""
    try:
        found = [load(path) for path in files] + [builtin(name) for name in names]
    except ScenarioError as error:
        raise click.ClickException(str(error)) from None
    return sorted(found or [builtin("churn")], key=lambda item: not item.inside_assumptions)


def _print_list(console: Console) -> None:
    for name in builtin_names():
        console.print(f"[bold]{name}[/bold]  {builtin(name).description}")


def _print_tables(console: Console, summaries: Sequence[Summary]) -> None:
    for title, is_inside in (("Inside the assumptions", True), ("Outside of them", False)):
        rows = [item for item in summaries if item.scenario.inside_assumptions is is_inside]
        if rows:
            console.print(report.table(rows, f"{title}: {_count(rows)} schedules of PoolBudget"))


def _run(
    console: Console,
    scenarios: Sequence[Scenario],
    policies: Sequence[Policy],
    seeds: Sequence[int],
    processes: int | None,
) -> list[Summary]:
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, width=_WIDTH), transient=True) as progress:
        total = len(scenarios) * len(policies) * len(seeds)
        bar = progress.add_task("Simulating", total=total)
        advance: Callable[[int], None] = lambda count: progress.advance(bar, count)  # noqa: E731
        summaries = run_all(scenarios, policies, seeds, advance, processes)
    last = seeds[-1] if seeds else 0
    console.print(
        f"{len(seeds)} schedules of {len(scenarios)} scenarios, seeds {seeds[0]} to {last}, "
        f"{time.monotonic() - started:.1f} s"
    )
    return summaries


def _count(rows: Sequence[Summary]) -> int:
    return sum(item.schedules for item in rows if item.policy is Policy.POOLBUDGET)


def _draw(path: Path, scenario: Scenario, policies: Sequence[Policy], seed: int) -> None:
    courses = [
        (item, Run(schedule(scenario, seed), item, seed).play(aftermath=False).course)
        for item in policies_for(scenario, policies)
    ]
    try:
        report.plot(
            path, courses, f"{scenario.name}, usable {scenario.usable - scenario.others}, seed {seed}"
        )
    except ImportError:
        raise click.ClickException("a plot needs matplotlib: pip install 'poolbudget[simulate]'") from None


def _print_trace(console: Console, scenario: Scenario, seed: int) -> None:
    outcome = Run(schedule(scenario, seed), Policy.POOLBUDGET, seed).play(aftermath=False)
    for line in report.trace(outcome, lines=len(outcome.trace)):
        console.print(line, highlight=False)


def _explain(console: Console, item: Summary, files: Sequence[Path]) -> None:
    """The first failing seed: what is wrong, the shortest way there, and how to see it again."""
    failed = item.failed[0]
    shortest = shortest_failure(schedule(item.scenario, failed.seed), failed.seed)
    console.print(f"\n[red]{item.scenario.name}: seed {failed.seed} fails[/red]")
    for problem in failed.problems or [f"{failed.worst:.2f} of usable"]:
        console.print(f"  {problem}", highlight=False)
    for line in report.trace(shortest):
        console.print(f"  {line}", highlight=False)
    given = next((str(path) for path in files if _names(path) == item.scenario.name), None)
    source = f"--file {given}" if given else f"--scenario {item.scenario.name}"
    console.print(f"  again: poolbudget simulate {source} --policy poolbudget -n 1 --seed {failed.seed}")


def _names(path: Path) -> str | None:
    try:
        return load(path).name
    except ScenarioError:
        return None
