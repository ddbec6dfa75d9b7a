"""`make bench-probes`: what each probe costs: memory of its own process, and the time of a look."""

from __future__ import annotations

import asyncio
import statistics
import time

import psutil
from rich.console import Console
from rich.table import Table

from cluster.postgres import Postgres
from cluster.processes import Workspace
from poolbudget.capacity.child import ChildProbe, Question

PROBES = 20
LOOKS = 50


async def measure(question: Question) -> tuple[list[float], list[float]]:
    """Memory of each probe's process that no other shares, in MiB, and times of a look in milliseconds."""
    probes = [ChildProbe() for _ in range(PROBES)]
    for answer in await asyncio.gather(*(probe.look(question) for probe in probes)):
        assert answer.report is not None, answer.failure
    times = []
    for turn in range(LOOKS):
        started = time.perf_counter()
        await probes[turn % PROBES].look(question)
        times.append(1000 * (time.perf_counter() - started))
    memory = [_own_memory(pid) for pid in _children_of_children()]
    await asyncio.gather(*(probe.close() for probe in probes))
    return memory, times


def _children_of_children() -> list[int]:
    """The probes: they are forked from one process that has imported everything."""
    return [
        child.pid
        for parent in psutil.Process().children()
        if "python" in parent.name()
        for child in parent.children()
    ]


def _own_memory(pid: int) -> float:
    own: int = psutil.Process(pid).memory_full_info().uss
    return own / 2**20


def main() -> None:
    """A table of medians."""
    with Workspace("bench") as workspace:
        postgres = Postgres(workspace, settings={"max_connections": 100})
        memory, times = asyncio.run(measure(Question(postgres.url(), "127.0.0.1")))
    table = Table(title=f"{PROBES} probes of one server", title_justify="left")
    for name in ("MiB each, median", "MiB each, most", "ms for a look, median", "ms for a look, worst"):
        table.add_column(name, justify="right")
    figures = (statistics.median(memory), max(memory), statistics.median(times), max(times))
    table.add_row(*(f"{figure:.1f}" for figure in figures))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
