"""An application under full load whose pool follows its pod's share: short transactions, never a pause."""

import asyncio
import os
import signal
import sys

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from poolbudget.client import create_async_engine

LOAD = int(os.environ.get("LOAD", "60"))
SECONDS = float(os.environ.get("SECONDS_PER_TRANSACTION", "0.3"))


def make_engine() -> AsyncEngine:
    """Sizes, settings and the share to follow come from the volume at /etc/poolbudget."""
    url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg")
    name = os.environ.get("POD_NAME", "orders-api")
    return create_async_engine(url, connect_args={"server_settings": {"application_name": name}})


async def work(engine: AsyncEngine, stopping: asyncio.Event) -> None:
    """One client after the other, each with a short transaction."""
    while not stopping.is_set():
        try:
            async with engine.begin() as connection:
                await connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": SECONDS})
        except Exception as error:
            sqlstate = getattr(getattr(error, "orig", error), "sqlstate", None)
            print(f"error sqlstate={sqlstate} {type(error).__name__}: {error}", file=sys.stderr)
            await asyncio.sleep(0.25)


async def main() -> None:
    """Work until SIGTERM, then finish what is under way."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    engine = make_engine()
    print(f"started: {engine.pool.status()}")
    await asyncio.gather(*(work(engine, stopping) for _ in range(LOAD)))
    await engine.dispose()
    print("finished")


if __name__ == "__main__":
    asyncio.run(main())
