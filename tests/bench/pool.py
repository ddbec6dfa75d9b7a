"""`make bench-pool`: a checkout in a pool that follows its share, beside SQLAlchemy's own, in turn."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from cluster.postgres import Postgres
from cluster.processes import Workspace
from poolbudget import client

_ROUNDS, _CHECKOUTS = 500, 50
_SIZES = {"pool_size": 5, "max_overflow": 0}


async def seconds(engine: AsyncEngine) -> float:
    """For one checkout with an empty transaction's worth of work: one small query."""
    began = time.perf_counter()
    for _ in range(_CHECKOUTS):
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    return (time.perf_counter() - began) / _CHECKOUTS


async def measure(url: str, folder: Path) -> dict[str, list[float]]:
    """All in turn, shuffled: the machine's moods meet them alike. The stock pool twice, for its noise."""
    engines = {
        "stock": client.create_async_engine(url, folder=folder, **_SIZES),
        "stock again": client.create_async_engine(url, folder=folder, **_SIZES),
        "following": client.create_async_engine(url, folder=folder),
    }
    found: dict[str, list[float]] = {name: [] for name in engines}
    order, dice = list(engines), random.Random(1)
    for _ in track(range(_ROUNDS), "Measuring", console=Console(stderr=True), transient=True):
        dice.shuffle(order)
        for name in order:
            found[name].append(await seconds(engines[name]))
    for engine in engines.values():
        await engine.dispose()
    return {name: values[_ROUNDS // 10 :] for name, values in found.items()}


def main() -> None:
    """Print microseconds for one checkout, and how much more the resizable pool takes."""
    with Workspace("bench-pool") as workspace, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        share = {"revision": 1, "poolSize": 5, "maxOverflow": 0}
        files = {
            "uid": "0a1b2c3d-1111-2222-3333-3f2a9c51d7e0",
            "orders": json.dumps(share),
            "POOL_BUDGET": "orders",
            "POOL_SIZE": "1",
            "MAX_OVERFLOW": "0",
        }
        for file, content in files.items():
            (folder / file).write_text(content)
        url = Postgres(workspace).url().replace("postgresql:", "postgresql+asyncpg:")
        found = asyncio.run(measure(url, folder))
    medians = {name: statistics.median(values) * 1e6 for name, values in found.items()}
    table = Table(title=f"{_CHECKOUTS * len(found['stock'])} checkouts each, with SELECT 1")
    for column in ("pool", "microseconds, median of rounds", "median of differences to stock"):
        table.add_column(column, justify="right")
    for name, value in medians.items():
        pairs = zip(found[name], found["stock"], strict=True)
        difference = statistics.median((ours - stock) / stock for ours, stock in pairs)
        table.add_row(name, f"{value:.1f}", f"{difference:+.1%}")
    console = Console(width=100)
    console.print(table)


if __name__ == "__main__":
    main()
