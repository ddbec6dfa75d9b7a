"""Check out one connection more than a pool may open: the last one must time out, the others must not.

Run it where the application runs, with its environment, against a staging database; it holds every
connection of one pool for some seconds:

    kubectl exec deploy/orders-api -- python exhaustion.py
"""

import asyncio
import os
import sys
import time

from sqlalchemy import exc, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from poolbudget.client import engine_options


async def hold(engine: AsyncEngine, release: asyncio.Event) -> str:
    """Check out a connection, use it, and keep it until everybody has tried."""
    started = time.monotonic()
    try:
        async with engine.connect() as connection, connection.begin():
            await connection.execute(text("SELECT 1"))
            await release.wait()
            return "held"
    except exc.TimeoutError:
        return f"timed out after {time.monotonic() - started:.1f} s"
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"


async def main(prefix: str = "") -> int:
    """Returns 0 if the pool's limit is exactly pool_size + max_overflow."""
    options = engine_options(prefix)
    if "pool_size" not in options:
        print("a NullPool has no limit: nothing to exhaust")
        return 1
    cap = options["pool_size"] + options["max_overflow"]
    url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg")
    engine = create_async_engine(url, **options)
    release: asyncio.Event = asyncio.Event()
    checkouts = [asyncio.create_task(hold(engine, release)) for _ in range(cap + 1)]
    # Until one of them gives up, which is to be the last one.
    first, _ = await asyncio.wait(
        checkouts, timeout=options.get("pool_timeout", 30) + 30, return_when=asyncio.FIRST_COMPLETED
    )
    release.set()
    results = await asyncio.gather(*checkouts)
    await engine.dispose()
    late = [result for result in results if result != "held"]
    count = results.count("held")
    print(f"pool_size={options['pool_size']} max_overflow={options['max_overflow']}: {count} held")
    print(f"checkout number {cap + 1}: {', '.join(late) or 'held as well: the pool has no limit'}")
    return 0 if len(first) == len(late) == 1 and late[0].startswith("timed out") else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
