"""`make bench-acknowledgements`: what a look at the tags of 1,000 connections costs, and who pays for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

from cluster.postgres import Postgres
from cluster.processes import Workspace
from poolbudget.capacity.child import ChildProbe, Question
from poolbudget.capacity.consumers import PROBE
from poolbudget.capacity.sightings import Sighting
from poolbudget.cluster.in_place import sight
from poolbudget.planning.inputs import PodCost
from poolbudget.tag import Tag, budget_part, labelled, pod_part

PODS, EACH = 100, 10
LOOKS = 300
_AT_ONCE = 20


def uid(number: int) -> str:
    return f"0a1b2c3d-0000-0000-0000-{number:012x}"


async def measure(url: str) -> dict[str, float]:
    """Milliseconds of CPU for one look, by process, and of time until the answer is there."""
    connections = await _open(url)
    probe, question = ChildProbe(), Question(url, "127.0.0.1")
    await probe.look(question)
    server = await connections[0].fetchval(
        "SELECT pid FROM pg_stat_activity WHERE application_name = $1", PROBE
    )
    assert probe._process is not None
    assert probe._process.pid is not None
    processes = {
        "operator": psutil.Process(),
        "its probe": psutil.Process(probe._process.pid),
        "the server": psutil.Process(server),
    }
    before = {name: _cpu(process) for name, process in processes.items()}
    began = time.perf_counter()
    for _ in range(LOOKS):
        answer = await probe.look(replace(question, tags_only=True))
        assert answer.tagged is not None
        seen = sight(Sighting(0.0, answer.tagged), "shop", "orders", (), {})
        applied = [seen.applied(uid(number), PodCost(1, 0)) for number in range(PODS)]
        assert {item.connections for item in applied} == {EACH}
    elapsed = 1000 * (time.perf_counter() - began) / LOOKS
    spent = {name: 1000 * (_cpu(process) - before[name]) / LOOKS for name, process in processes.items()}
    await probe.close()
    await asyncio.gather(*(connection.close() for connection in connections))
    return {**spent, "until the answer": elapsed}


async def _open(url: str) -> list[asyncpg.Connection]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def connect(number: int) -> asyncpg.Connection:
        tag = Tag(pod_part(uid(number)), "process", budget_part("shop/orders"), 0, 1_800_000_000, EACH)
        async with limit:
            name = {"application_name": labelled("orders", tag)}
            return await asyncpg.connect(url, server_settings=name)

    return await asyncio.gather(*(connect(number % PODS) for number in range(PODS * EACH)))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    found: float = times.user + times.system
    return found


def main() -> None:
    """A table, with what that comes to once a second and ten times a second."""
    console = Console(width=100)
    with Workspace("bench") as workspace:
        postgres = Postgres(workspace, settings={"max_connections": PODS * EACH + 20})
        spent = asyncio.run(measure(postgres.url()))
    table = Table(title=f"A look at {PODS * EACH} connections of {PODS} pods", title_justify="left")
    table.add_column("CPU of")
    for name in ("ms for a look", "% of a core, one look a second", "ten a second"):
        table.add_column(name, justify="right")
    row: Callable[[str, float], None] = lambda name, ms: table.add_row(  # noqa: E731
        name, f"{ms:.2f}", f"{ms / 10:.2f}", f"{ms:.1f}"
    )
    elapsed = spent.pop("until the answer")
    for name, ms in spent.items():
        row(name, ms)
    row("all", sum(spent.values()))
    console.print(table)
    console.print(f"the answer is there after {elapsed:.1f} ms")


if __name__ == "__main__":
    main()
