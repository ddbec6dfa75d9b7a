"""The names of SQLAlchemy's own that the resizable pool stands on: a release may move any of them."""

from __future__ import annotations

import inspect

import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool
from sqlalchemy.pool.base import Pool, _ConnectionRecord
from sqlalchemy.util import await_only, greenlet_spawn
from sqlalchemy.util.queue import AsyncAdaptedQueue, Empty, Queue

ATTRIBUTES = (
    *("_creator", "_dialect", "_invalidate_time", "_orig_logging_name", "_pre_ping", "_recycle"),
    *("_max_overflow", "_overflow", "_pool", "_reset_on_return", "_timeout", "dispatch", "echo", "logger"),
)


@pytest.mark.parametrize("pool_class", [QueuePool, AsyncAdaptedQueuePool])
def test_what_a_pool_has(pool_class: type[QueuePool]) -> None:
    pool = pool_class(lambda: None, 3, 2)
    assert [name for name in ATTRIBUTES if not hasattr(pool, name)] == []
    assert (pool._overflow, pool._max_overflow, pool._timeout) == (-3, 2, 30.0)
    assert pool._pool.use_lifo is False


def test_what_a_record_has() -> None:
    pool = QueuePool(_Connection, 1, 0)
    record = _ConnectionRecord(pool)
    assert record.dbapi_connection is not None
    assert record.starttime > 0, "else what is older than a dispose could not be told"
    record.record_info["poolbudget"] = 1  # type: ignore[index]
    record.close()
    assert record.dbapi_connection is None
    assert record.record_info == {"poolbudget": 1}, "it outlives the connection"


@pytest.mark.parametrize("pool_class", [QueuePool, AsyncAdaptedQueuePool])
def test_a_pool_knows_the_class_of_its_queue(pool_class: type[QueuePool]) -> None:
    pool = pool_class(lambda: None, 1, 0)
    assert isinstance(pool._pool, pool._queue_class)
    assert pool._queue_class(0, use_lifo=True).use_lifo


def test_the_driver_is_reached_beside_the_adapter() -> None:
    assert hasattr(AsyncAdapt_asyncpg_connection, "run_async")
    assert hasattr(AsyncAdapt_asyncpg_connection, "driver_connection")


def test_checkouts_and_returns_go_through_what_is_overridden() -> None:
    assert "pool._do_get()" in inspect.getsource(_ConnectionRecord.checkout)
    assert "pool._return_conn(self)" in inspect.getsource(_ConnectionRecord.checkin)
    assert "self._do_return_conn(record)" in inspect.getsource(Pool._return_conn)
    assert "return _ConnectionRecord(self)" in inspect.getsource(Pool._create_connection)


def test_an_empty_record_is_connected_when_it_is_checked_out() -> None:
    opened = []
    pool = QueuePool(lambda: opened.append(1) or _Connection(), 1, 0)  # type: ignore[func-returns-value]
    record = _ConnectionRecord(pool, connect=False)
    assert record.dbapi_connection is None
    assert not opened
    record.get_connection()
    assert opened == [1]


def test_a_queue_without_a_bound_is_never_full() -> None:
    queue: Queue[int] = Queue(0)
    for number in range(100):
        queue.put(number, False)
    assert queue.qsize() == 100
    with queue.mutex, queue.mutex:
        assert queue.get(False) == 0
    with pytest.raises(Empty):
        Queue(0).get(False)


async def test_nor_is_the_one_for_tasks() -> None:
    queue: AsyncAdaptedQueue[int] = AsyncAdaptedQueue(0)
    queue.put(1, False)
    assert (queue.qsize(), queue.get(False)) == (1, 1)
    with pytest.raises(Empty):
        queue.get(False)
    assert await greenlet_spawn(lambda: await_only(_seven())) == 7


async def _seven() -> int:
    return 7


class _Connection:
    def close(self) -> None:
        pass

    def rollback(self) -> None:
        pass
