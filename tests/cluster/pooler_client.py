"""An application behind a pooler: many short transactions with the settings of its environment.

`python -m cluster.pooler_client URL WORKERS TIMES` prints how many of WORKERS x TIMES failed.
"""

from __future__ import annotations

import asyncio
import sys

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from poolbudget.client import engine_options


async def failures(url: str, workers: int, times: int) -> int:
    """Each transaction has a statement with a parameter, of seven different texts, and a short wait."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"), **engine_options())
    failed = 0

    async def work(number: int) -> None:
        nonlocal failed
        for turn in range(times):
            try:
                async with engine.begin() as connection:
                    query = text(f"SELECT CAST(:value AS int), '{(number + turn) % 7}'")
                    if (await connection.execute(query, {"value": turn})).one()[0] != turn:
                        failed += 1
                    await connection.execute(text("SELECT pg_sleep(0.0005)"))
            except Exception:
                failed += 1

    await asyncio.gather(*(work(number) for number in range(workers)))
    await engine.dispose()
    return failed


if __name__ == "__main__":
    print(asyncio.run(failures(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
