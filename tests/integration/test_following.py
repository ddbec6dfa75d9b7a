"""Engines of the client library on a real PostgreSQL: they follow a file, and say so in the database."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from cluster.postgres import Postgres
from poolbudget import client
from poolbudget.client.engine import following_of
from poolbudget.client.process import this_process
from poolbudget.tag import Tag, budget_part, labelled, read_tag

UID = "0a1b2c3d-1111-2222-3333-3f2a9c51d7e0"
POD = "3f2a9c51d7e0"


class Volume:
    """A folder as the kubelet keeps it: files are links through `..data`, which is replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0
        self._files: dict[str, str] = {}

    def write(self, **files: str) -> None:
        self._files.update(files)
        self._number += 1
        content = self.folder / f"..{self._number}"
        content.mkdir()
        for name, text_of_file in self._files.items():
            (content / name).write_text(text_of_file)
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        new = self.folder / "..data_tmp"
        new.symlink_to(content.name)
        new.replace(self.folder / "..data")

    def share(self, revision: int, pool_size: int, max_overflow: int = 0) -> None:
        found = {"revision": revision, "poolSize": pool_size, "maxOverflow": max_overflow}
        self.write(orders=json.dumps(found))


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    made = Volume(tmp_path)
    made.write(uid=UID, orders="", POOL_BUDGET="orders", POOL_SIZE="1", MAX_OVERFLOW="0", POOL_TIMEOUT="20")
    return made


def tags(postgres: Postgres) -> list[Tag]:
    names = postgres.execute("SELECT application_name FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    return [tag for tag in map(read_tag, names.splitlines()) if tag is not None and tag.pod == POD]


def acknowledged(engine: AsyncEngine) -> int:
    """The revision that new connections say."""
    following = following_of(engine)
    assert following is not None
    return following.acknowledged


def newest(postgres: Postgres) -> int:
    return max((tag.revision for tag in tags(postgres)), default=-1)


async def until(found: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.fixture
async def engine(postgres: Postgres, volume: Volume) -> AsyncIterator[AsyncEngine]:
    url = postgres.url().replace("postgresql:", "postgresql+asyncpg:")
    made = client.create_async_engine(
        url, folder=volume.folder, connect_args={"server_settings": {"application_name": "orders"}}
    )
    yield made
    await made.dispose()


@pytest.fixture
def sync_engine(postgres: Postgres, volume: Volume) -> Iterator[Engine]:
    made = client.create_engine(
        postgres.url().replace("postgresql:", "postgresql+psycopg:"), folder=volume.folder
    )
    yield made
    made.dispose()


async def test_one_connection_is_open_from_the_start_and_says_who_it_is(
    engine: AsyncEngine, postgres: Postgres
) -> None:
    async with engine.connect() as connection:
        name = (await connection.execute(text("SHOW application_name"))).scalar_one()
    assert name.startswith("orders pb:")
    assert tags(postgres) == [Tag(POD, this_process(), budget_part("orders"), _index(engine), 0, 1)]


def _index(engine: AsyncEngine) -> int:
    following = following_of(engine)
    assert following is not None
    return following._index


async def test_an_idle_engine_opens_one_by_itself(postgres: Postgres, volume: Volume) -> None:
    url = postgres.url().replace("postgresql:", "postgresql+asyncpg:")
    engine = client.create_async_engine(url, folder=volume.folder)
    await until(lambda: len(tags(postgres)) == 1)
    await engine.dispose()


async def test_a_larger_share_is_used_and_said(
    engine: AsyncEngine, postgres: Postgres, volume: Volume
) -> None:
    volume.share(7, 3, 2)
    await until(lambda: newest(postgres) == 7)
    holders = [asyncio.create_task(hold(engine, 0.3)) for _ in range(5)]
    await until(lambda: len(tags(postgres)) == 5)
    await asyncio.gather(*holders)
    assert {tag.revision for tag in tags(postgres)} == {7}


async def hold(engine: AsyncEngine, seconds: float) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})


async def test_a_smaller_share_is_said_only_once_it_fits(
    engine: AsyncEngine, postgres: Postgres, volume: Volume
) -> None:
    volume.share(1, 4)
    # Not when the server shows it: new connections say it once its answer has come back.
    await until(lambda: acknowledged(engine) == 1)
    holders = [asyncio.create_task(hold(engine, 0.8)) for _ in range(4)]
    await until(lambda: len(tags(postgres)) == 4)
    volume.share(2, 2)
    while len(tags(postgres)) > 2:
        assert newest(postgres) == 1
        await asyncio.sleep(0.02)
    await until(lambda: newest(postgres) == 2)
    await asyncio.gather(*holders)
    assert len(tags(postgres)) == 2


@pytest.mark.parametrize("statement", ["RESET ALL", "DISCARD ALL"])
async def test_rollback_and_reset_raise_nothing(
    engine: AsyncEngine, postgres: Postgres, volume: Volume, statement: str
) -> None:
    volume.share(3, 1)
    await until(lambda: newest(postgres) == 3)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        await connection.rollback()
    assert newest(postgres) == 3
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute(statement)
        # What the connection said when it was made: an older revision, never a newer one.
        assert newest(postgres) == 0
    # When it comes back it is said anew.
    assert newest(postgres) == 3


async def test_what_is_malformed_or_older_changes_nothing(
    engine: AsyncEngine, postgres: Postgres, volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    volume.share(5, 2)
    await until(lambda: newest(postgres) == 5)
    for content in (
        '{"revision": 6, "poolSize": 0, "maxOverflow": 3}',
        "[",
        "",
        '{"revision": 4}',
        "x" * 9000,
    ):
        volume.write(orders=content)
        await asyncio.sleep(0.3)
    volume.share(4, 30)
    await asyncio.sleep(0.3)
    assert engine.pool.size() == 2  # type: ignore[attr-defined]
    warned = [item for item in caplog.records if item.levelno >= logging.WARNING]
    assert "poolSize must be a whole number from 1, not 0" in warned[0].getMessage()
    assert len(warned) == 4


async def test_under_load_nothing_fails_and_the_cap_holds(
    engine: AsyncEngine, postgres: Postgres, volume: Volume
) -> None:
    done: Counter[str] = Counter()
    ends = time.monotonic() + 6

    async def work() -> None:
        while time.monotonic() < ends:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT pg_sleep(0.005)"))
            done["transactions"] += 1

    workers = [asyncio.create_task(work()) for _ in range(30)]
    chance, revision, cap = random.Random(6), 10, 1
    while time.monotonic() < ends - 1:
        before, cap, revision = cap, chance.randint(1, 16), revision + 1
        volume.share(revision, max(1, cap * 7 // 10), cap - max(1, cap * 7 // 10))
        limit = time.monotonic() + 0.3
        while time.monotonic() < limit:
            assert len(await asyncio.to_thread(tags, postgres)) <= max(before, cap)
        await until(lambda: newest(postgres) == revision)  # noqa: B023
        assert len(await asyncio.to_thread(tags, postgres)) <= cap
    await asyncio.gather(*workers)
    assert done["transactions"] > 500


def test_threads_follow_as_well(sync_engine: Engine, postgres: Postgres, volume: Volume) -> None:
    failures: list[BaseException] = []
    ends = time.monotonic() + 4

    def work() -> None:
        try:
            while time.monotonic() < ends:
                with sync_engine.connect() as connection:
                    connection.execute(text("SELECT pg_sleep(0.005)"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for revision, cap in enumerate((8, 3, 6, 1, 5), start=20):
        volume.share(revision, cap)
        deadline = time.monotonic() + 10
        while newest(postgres) != revision:
            assert time.monotonic() < deadline
        assert len(tags(postgres)) <= cap
    for thread in threads:
        thread.join()
    assert not failures


async def test_a_restarted_process_waits_for_what_its_former_one_left(
    postgres: Postgres, volume: Volume
) -> None:
    gone = labelled("", Tag(POD, "gone00", budget_part("orders"), 0, 3, 9))
    url = postgres.url().replace("postgresql:", "postgresql+asyncpg:")
    former = client.create_async_engine(
        url, folder="/nowhere", connect_args={"server_settings": {"application_name": gone}}
    )
    left = await former.connect()
    await left.execute(text("SELECT 1"))
    volume.share(9, 5)
    engine = client.create_async_engine(url, folder=volume.folder)
    holders = [asyncio.create_task(hold(engine, 0.2)) for _ in range(5)]
    await asyncio.sleep(1)
    assert Counter(tag.process for tag in tags(postgres)) == {"gone00": 1, this_process(): 1}
    await left.close()
    await former.dispose()
    await until(lambda: len(tags(postgres)) == 5)
    await asyncio.gather(*holders)
    await engine.dispose()


async def test_a_former_process_is_waited_for_only_so_long(
    postgres: Postgres, volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    """A statement that never ends must not keep the application from starting."""
    gone = labelled("", Tag(POD, "gone00", budget_part("orders"), 0, 3, 9))
    left = await asyncpg.connect(postgres.url(), server_settings={"application_name": gone})
    volume.write(POOL_FORMER_WAIT="0.5")
    url = postgres.url().replace("postgresql:", "postgresql+asyncpg:")
    engine = client.create_async_engine(url, folder=volume.folder)
    try:
        began = time.monotonic()
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1
        assert 0.5 <= time.monotonic() - began < 10
        assert "former process are still open: going on" in caplog.text
    finally:
        await engine.dispose()
        await left.close()


_FORKS = """
import os, sys, time
from sqlalchemy import text
from poolbudget.client import create_engine
engine = create_engine(sys.argv[1], folder=sys.argv[2])
with engine.connect() as connection:
    mine = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
if os.fork() == 0:
    with engine.connect() as connection:
        theirs = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        assert theirs != mine
        print("child", flush=True)
        time.sleep(3)
    os._exit(0)
time.sleep(1)
with engine.connect() as connection:
    assert connection.execute(text("SELECT pg_backend_pid()")).scalar_one() == mine
print("parent", flush=True)
os.wait()
"""


def test_a_worker_process_has_a_pool_and_a_tag_of_its_own(postgres: Postgres, volume: Volume) -> None:
    volume.share(2, 2)
    url = postgres.url().replace("postgresql:", "postgresql+psycopg:")
    with subprocess.Popen(
        [sys.executable, "-c", _FORKS, url, str(volume.folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert sorted([process.stdout.readline(), process.stdout.readline()]) == ["child\n", "parent\n"]
        assert len({tag.process for tag in tags(postgres)}) == 2
        volume.share(4, 2)
        deadline = time.monotonic() + 5
        while [tag.revision for tag in tags(postgres)].count(4) < 1:
            assert time.monotonic() < deadline
    assert process.returncode == 0


_GROWS = """
import asyncio, os, signal, sys
from sqlalchemy import text
from poolbudget.client import create_async_engine
async def hold(engine, seconds):
    async with engine.connect() as connection:
        await connection.execute(text(f"SELECT pg_sleep({seconds})"))
async def main():
    signal.signal(signal.SIGTERM, lambda *_: print("asked to end", flush=True))
    engine = create_async_engine(sys.argv[1], folder=sys.argv[2])
    await asyncio.gather(*(hold(engine, 0.1) for _ in range(2)))
    print("started", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.gather(*(hold(engine, 0.1) for _ in range(30)))
    print("at most", engine.pool.cap, flush=True)
    await engine.dispose()
asyncio.run(main())
"""


def test_no_larger_share_is_obeyed_once_the_pod_is_to_end(postgres: Postgres, volume: Volume) -> None:
    volume.share(2, 8)
    url = postgres.url().replace("postgresql:", "postgresql+asyncpg:")
    with subprocess.Popen(
        [sys.executable, "-c", _GROWS, url, str(volume.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "started\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.readline() == "asked to end\n"
        volume.share(3, 20)
        time.sleep(0.5)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "at most 8\n"
    assert process.returncode == 0


async def test_after_a_restart_of_the_database_it_says_its_revision_again(
    engine: AsyncEngine, postgres: Postgres, volume: Volume
) -> None:
    volume.share(30, 3)
    await until(lambda: newest(postgres) == 30)
    await asyncio.to_thread(postgres.restart)
    volume.share(31, 2)
    await until(lambda: newest(postgres) == 31, 20)
