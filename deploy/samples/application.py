"""An application that keeps every slot of its pool busy, as a service under full load does."""

import asyncio
import os
import signal
import sys

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

POOL_SIZE = int(os.environ["POOL_SIZE"])
MAX_OVERFLOW = int(os.environ["MAX_OVERFLOW"])
SECONDS_TO_FINISH = float(os.environ.get("SECONDS_TO_FINISH", "2"))


def make_engine() -> AsyncEngine:
    """The engine, with the sizes that this container was given at its start."""
    return create_async_engine(
        make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
        pool_size=POOL_SIZE,
        max_overflow=MAX_OVERFLOW,
        connect_args={"server_settings": {"application_name": os.environ.get("POD_NAME", "orders-api")}},
    )


async def keep_busy(engine: AsyncEngine, stopping: asyncio.Event) -> None:
    """One slot: a transaction that stays open, and a new one whenever the database refuses it."""
    while not stopping.is_set():
        try:
            async with engine.begin() as connection:
                while not stopping.is_set():
                    await connection.execute(text("SELECT 1"))
                    await asyncio.sleep(0.5)
        except Exception as error:
            sqlstate = getattr(getattr(error, "orig", error), "sqlstate", None)
            print(f"error sqlstate={sqlstate} {type(error).__name__}: {error}", file=sys.stderr)
            await asyncio.sleep(0.25)


async def main() -> None:
    """Fill the pool, and on SIGTERM finish what is under way before the connections go."""
    stopping, terminated = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    engine = make_engine()
    print(f"started with pool_size={POOL_SIZE} max_overflow={MAX_OVERFLOW}")
    slots = [asyncio.create_task(keep_busy(engine, stopping)) for _ in range(POOL_SIZE + MAX_OVERFLOW)]
    await terminated.wait()
    await asyncio.sleep(SECONDS_TO_FINISH)
    stopping.set()
    await asyncio.gather(*slots)
    await engine.dispose()
    print("finished")


if __name__ == "__main__":
    asyncio.run(main())
