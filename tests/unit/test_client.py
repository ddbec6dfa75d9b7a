"""What applications import."""

import gc
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, Pool, QueuePool, StaticPool

from poolbudget import client
from poolbudget.client import PoolSizesError, pool_sizes
from poolbudget.client.engine import following_of
from poolbudget.client.options import driver_of, merged
from poolbudget.client.pool import ResizableQueuePool
from poolbudget.client.watch import Watcher


async def test_an_engine_in_three_lines() -> None:
    sizes = pool_sizes(environment={"POOL_SIZE": "7", "MAX_OVERFLOW": "3"})
    engine = create_async_engine("postgresql+asyncpg://u:p@127.0.0.1:1/x", **sizes)  # type: ignore[arg-type]
    assert engine.pool.size() == 7  # type: ignore[attr-defined]
    assert engine.pool._max_overflow == 3  # type: ignore[attr-defined]
    await engine.dispose()


def test_from_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIMARY_POOL_SIZE", "5")
    monkeypatch.setenv("PRIMARY_MAX_OVERFLOW", "0")
    assert pool_sizes("PRIMARY_") == {"pool_size": 5, "max_overflow": 0}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "POOL_SIZE is not set: add the target's ConfigMap"),
        ({"POOL_SIZE": "5"}, "MAX_OVERFLOW is not set"),
        ({"POOL_SIZE": "0", "MAX_OVERFLOW": "5"}, "POOL_SIZE must be a whole number from 1"),
        ({"POOL_SIZE": "5", "MAX_OVERFLOW": "-1"}, "MAX_OVERFLOW must be a whole number from 0"),
        ({"POOL_SIZE": "many", "MAX_OVERFLOW": "5"}, "not 'many'"),
    ],
)
def test_no_guessing(environment: dict[str, str], words: str) -> None:
    with pytest.raises(PoolSizesError, match=words):
        pool_sizes(environment=environment)


def test_it_is_light() -> None:
    """Importing it must work where only SQLAlchemy is installed."""
    code = (
        "import sys; import poolbudget.client; "
        "heavy = {'kopf', 'kubernetes', 'pydantic', 'asyncpg', 'click', 'aiohttp'} & set(sys.modules); "
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def mounted(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def test_plain_sqlalchemy_where_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = client.create_engine("postgresql+psycopg://h/x", folder=tmp_path, pool_size=4)
    assert type(engine.pool) is QueuePool
    assert engine.pool.size() == 4
    [record] = caplog.records
    assert f"no POOL_SIZE in the environment, nothing in {tmp_path}" in record.getMessage()


def test_sizes_and_settings_from_files(tmp_path: Path) -> None:
    folder = mounted(tmp_path, POOL_SIZE="7\n", MAX_OVERFLOW="3", POOL_RECYCLE="300", POOL_CLASS="QueuePool")
    engine = client.create_async_engine("postgresql+asyncpg://h/x", folder=folder)
    pool = engine.sync_engine.pool
    assert isinstance(pool, AsyncAdaptedQueuePool)
    assert (pool.size(), pool._max_overflow, pool._recycle) == (7, 3, 300)


def test_the_environment_comes_first_and_is_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mounted(tmp_path, A_POOL_SIZE="7", A_MAX_OVERFLOW="3", A_POOL_RECYCLE="300")
    monkeypatch.setenv("A_POOL_SIZE", "2")
    monkeypatch.setenv("A_MAX_OVERFLOW", "1")
    engine = client.create_engine("postgresql+psycopg://h/x", prefix="A_", folder=folder)
    assert (engine.pool.size(), engine.pool._recycle) == (2, -1)  # type: ignore[attr-defined]


def test_the_callers_own_arguments_win(tmp_path: Path) -> None:
    folder = mounted(
        tmp_path,
        POOL_SIZE="7",
        MAX_OVERFLOW="3",
        POOL_RECYCLE="300",
        POOL_BUDGET="orders",
        uid="0a1b2c3d-1111-2222-3333-3f2a9c51d7e0",
        orders="",
    )
    engine = client.create_engine("postgresql+psycopg://h/x", folder=folder, pool_size=4, pool_recycle=90)
    assert (engine.pool.size(), engine.pool._recycle) == (4, 90)  # type: ignore[attr-defined]
    assert following_of(engine) is None
    followed = client.create_engine("postgresql+psycopg://h/x", folder=folder, pool_recycle=90)
    assert (followed.pool.size(), followed.pool._recycle) == (7, 90)  # type: ignore[attr-defined]
    assert following_of(followed) is not None


def test_the_pods_own_share_comes_before_the_start(tmp_path: Path) -> None:
    share = '{"revision": 9, "poolSize": 12, "maxOverflow": 5}'
    uid = "0a1b2c3d-1111-2222-3333-3f2a9c51d7e0"
    files = {"POOL_SIZE": "1", "MAX_OVERFLOW": "0", "POOL_BUDGET": "orders", "orders": share, "uid": uid}
    engine = client.create_engine("postgresql+psycopg://h/x", folder=mounted(tmp_path, **files))
    assert isinstance(engine.pool, ResizableQueuePool)
    assert (engine.pool.size(), engine.pool.cap) == (12, 17)


@pytest.mark.parametrize(
    ("missing", "words"), [("uid", "there is no"), ("orders", "there is no"), ("POOL_BUDGET", "")]
)
def test_with_half_a_volume_nothing_is_followed_and_it_says_why(
    tmp_path: Path, missing: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = {
        "POOL_SIZE": "3",
        "MAX_OVERFLOW": "0",
        "POOL_BUDGET": "orders",
        "orders": "",
        "uid": "0a1b2c3d-1111-2222-3333-3f2a9c51d7e0",
    }
    del files[missing]
    engine = client.create_engine("postgresql+psycopg://h/x", folder=mounted(tmp_path, **files))
    assert following_of(engine) is None
    assert engine.pool.size() == 3  # type: ignore[attr-defined]
    assert (words in caplog.text) if words else not caplog.records
    if words:
        assert str(tmp_path / missing) in caplog.text


def test_with_the_configmap_only_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = {"POOL_SIZE": "3", "MAX_OVERFLOW": "0", "POOL_BUDGET": "orders"}
    engine = client.create_engine("postgresql+psycopg://h/x", folder=mounted(tmp_path, **files))
    assert following_of(engine) is None
    assert not caplog.records


def test_a_null_pool_follows_nothing(tmp_path: Path) -> None:
    folder = mounted(tmp_path, POOL_CLASS="NullPool", POOL_BUDGET="orders", orders="", uid="x")
    engine = client.create_engine("postgresql+psycopg://h/x", folder=folder)
    assert type(engine.pool) is NullPool


def test_sizes_that_make_no_sense_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(PoolSizesError, match="POOL_SIZE must be a whole number from 1"):
        client.create_engine("postgresql+psycopg://h/x", folder=mounted(tmp_path, POOL_SIZE="0"))


RECIPE = {
    "POOL_SIZE": "3",
    "MAX_OVERFLOW": "0",
    "POOL_TIMEOUT": "5",
    "POOL_PRE_PING": "true",
    "DATABASE_SSL": "disable",
    "DATABASE_JIT": "off",
}


def arguments(tmp_path: Path, url: str, **overrides: Any) -> dict[str, Any]:
    """What the driver is told at each connect."""
    engine = client.create_engine(url, folder=mounted(tmp_path, **RECIPE), **overrides)
    return given(engine)


def given(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = {}

    @event.listens_for(engine, "do_connect")
    def keep(_: Any, __: Any, ___: Any, named: dict[str, Any]) -> None:
        found.update(named)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        engine.connect()
    return found


def test_what_the_url_says_of_tls_and_options_counts(tmp_path: Path) -> None:
    url = "postgresql+psycopg://h/x?sslmode=require&options=-csearch_path%3Dapp"
    found = arguments(tmp_path, url)
    assert found["sslmode"] == "require"
    assert found["options"] == "-c jit=off -csearch_path=app"


def test_the_callers_connect_args_are_added_to_the_recipes(tmp_path: Path) -> None:
    found = arguments(tmp_path, "postgresql+psycopg://h/x", connect_args={"options": "-c work_mem=9MB"})
    assert found["options"] == "-c jit=off -c work_mem=9MB"
    settings = {"server_settings": {"application_name": "orders"}}
    both = options_of("postgresql+asyncpg://h/x", {"connect_args": settings})
    assert both["connect_args"]["server_settings"] == {"application_name": "orders", "jit": "off"}


def options_of(url: str, overrides: dict[str, Any]) -> dict[str, Any]:
    return merged(client.engine_options("", RECIPE, driver_of(make_url(url))), overrides, make_url(url))


def test_other_databases_and_drivers_work_as_without_us(tmp_path: Path) -> None:
    folder = mounted(tmp_path, **RECIPE)
    assert client.create_engine("sqlite://", folder=folder).connect()
    assert "connect_args" not in options_of("postgresql+pg8000://h/x", {})


@pytest.mark.parametrize("pool_class", [NullPool, StaticPool, QueuePool])
def test_a_pool_class_of_ones_own(tmp_path: Path, pool_class: type[Pool]) -> None:
    folder = mounted(tmp_path, **RECIPE)
    engine = client.create_engine("postgresql+psycopg://h/x", folder=folder, poolclass=pool_class)
    assert type(engine.pool) is pool_class
    again = client.create_engine("postgresql+psycopg://h/x", folder=folder, pool=engine.pool)
    assert again.pool is engine.pool


def test_pools_of_engines_that_are_gone_leave_their_numbers(tmp_path: Path) -> None:
    files = {"POOL_BUDGET": "orders", "orders": "", "uid": "0a1b2c3d-1111-2222-3333-3f2a9c51d7e0"}
    folder = mounted(tmp_path, **RECIPE, **files)
    for _ in range(120):
        engine = client.create_engine("postgresql+psycopg://h/x", folder=folder)
        following = following_of(engine)
        assert following is not None
        assert following.index < 100
        del engine, following
        gc.collect(1)


def test_a_descriptor_that_is_somebody_elses_by_now_is_left_alone() -> None:
    """A daemon closes all descriptors, and a database's socket gets the watcher's number."""
    calls: list[int] = []
    watching = Watcher(interval=0.02)
    watching.add(None, lambda: len(calls) < 20 and not calls.append(1))  # type: ignore[func-returns-value]
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    with ours, theirs:
        os.dup2(ours.fileno(), watching._inotify)
        number = watching._inotify
        theirs.send(b"an answer")
        before = len(calls)
        deadline = time.monotonic() + 10
        while watching._thread is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert len(calls) > before, "it goes on by time"
        assert ours.recv(100) == b"an answer"
        os.close(number)  # still open: the watcher has not closed it
