"""Pools that are resized while they work, on connections that only count themselves."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import exc
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, QueuePool
from sqlalchemy.util import await_only, greenlet_spawn

from poolbudget.client.pool import AsyncResizableQueuePool, PoolHooks, ResizableQueuePool


class Server:
    """Counts what is open. `pause` is called while a connection is being opened and closed."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self.open = 0
        self.most = 0
        self.opened = 0
        self._pause = pause
        self._lock = threading.Lock()

    def connect(self) -> Connection:
        with self._lock:
            self.open += 1
            self.opened += 1
            self.most = max(self.most, self.open)
        try:
            self._pause()
        except BaseException:
            self._gone()
            raise
        return Connection(self)

    def closed(self) -> None:
        # However closing ends: SQLAlchemy drops the connection when it is interrupted.
        try:
            self._pause()
        finally:
            self._gone()

    def _gone(self) -> None:
        with self._lock:
            self.open -= 1


class Connection:
    def __init__(self, server: Server) -> None:
        self._server = server

    def rollback(self) -> None:
        pass

    def close(self) -> None:
        self._server.closed()


def async_pause() -> None:
    await_only(asyncio.sleep(0))


def async_pool(cap: int, timeout: float = 20.0, **named: Any) -> tuple[Server, AsyncResizableQueuePool]:
    server = Server(async_pause)
    return server, AsyncResizableQueuePool(server.connect, cap, 0, timeout, **named)


def thread_pool(cap: int, timeout: float = 20.0, **named: Any) -> tuple[Server, ResizableQueuePool]:
    server = Server(lambda: time.sleep(0))
    return server, ResizableQueuePool(server.connect, cap, 0, timeout, **named)


async def use(pool: QueuePool, ticks: int, fate: str = "return") -> None:
    connection = await greenlet_spawn(pool.connect)
    try:
        for _ in range(ticks):
            await asyncio.sleep(0)
        if fate == "invalidate":
            await greenlet_spawn(connection.invalidate)
    finally:
        await asyncio.shield(greenlet_spawn(connection.close))


async def test_growth_wakes_those_that_wait_at_once() -> None:
    _, pool = async_pool(1)
    held = await greenlet_spawn(pool.connect)
    waiting = [asyncio.create_task(use(pool, 1)) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert pool.waiting == 3
    await greenlet_spawn(pool.resize, 4, 0)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert pool.counters.waits == 3
    await greenlet_spawn(held.close)


async def test_the_stock_pool_leaves_them_waiting() -> None:
    # What resizing from outside would do: the reason for a pool of our own.
    server = Server(async_pause)
    pool = AsyncAdaptedQueuePool(server.connect, pool_size=1, max_overflow=0)
    held = await greenlet_spawn(pool.connect)
    waiting = asyncio.create_task(use(pool, 1))
    await asyncio.sleep(0.01)
    pool._max_overflow = 3
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await greenlet_spawn(held.close)
    await waiting


async def test_a_shrunk_pool_closes_idle_ones_at_once_and_busy_ones_on_return() -> None:
    server, pool = async_pool(6)
    held = [await greenlet_spawn(pool.connect) for _ in range(6)]
    for connection in held[:3]:
        await greenlet_spawn(connection.close)
    await greenlet_spawn(pool.resize, 2, 0)
    assert server.open == pool.existing == 3
    for connection in held[3:]:
        await greenlet_spawn(connection.close)
    assert server.open == pool.existing == 2
    assert pool.checkedout() == 0
    assert pool.checkedin() == 2


async def test_connections_beyond_pool_size_are_not_kept() -> None:
    server, pool = async_pool(2)
    await greenlet_spawn(pool.resize, 2, 2)
    held = [await greenlet_spawn(pool.connect) for _ in range(4)]
    assert pool.overflow() == 2
    for connection in held:
        await greenlet_spawn(connection.close)
    assert server.open == 2
    assert pool.overflow() == 0


async def test_those_that_wait_get_the_place_of_a_connection_that_is_closed() -> None:
    # One is kept, three are used and three wait: the stock pool closes what returns second, and nobody is
    # told that there is a place now.
    _, pool = async_pool(1)
    await greenlet_spawn(pool.resize, 1, 2)
    await asyncio.wait_for(asyncio.gather(*(use(pool, 3) for _ in range(60))), 10)
    assert pool.counters.timeouts == 0


async def test_a_failed_connect_gives_its_place_to_the_next() -> None:
    server, pool = async_pool(1, timeout=5)
    original, failures = server.connect, iter([True, False])

    def connect() -> Connection:
        if next(failures):
            async_pause()
            raise ConnectionError("no")
        return original()

    pool = AsyncResizableQueuePool(connect, 1, 0, 5)
    first = asyncio.create_task(use(pool, 0))
    second = asyncio.create_task(use(pool, 0))
    with pytest.raises(ConnectionError):
        await first
    await asyncio.wait_for(second, 4)


async def test_waiting_too_long_says_which_limit_was_reached() -> None:
    _, pool = async_pool(1, timeout=0.05)
    held = await greenlet_spawn(pool.connect)
    with pytest.raises(exc.TimeoutError, match="limit of size 1 overflow 0 reached"):
        await greenlet_spawn(pool.connect)
    assert pool.counters.timeouts == 1
    await greenlet_spawn(held.close)


@pytest.mark.parametrize("sizes", [(0, 5), (5, -1)])
def test_no_limit_is_refused(sizes: tuple[int, int]) -> None:
    server, pool = thread_pool(3)
    with pytest.raises(ValueError, match="no limit"):
        pool.resize(*sizes)
    with pytest.raises(ValueError, match="no limit"):
        ResizableQueuePool(server.connect, *sizes)
    assert pool.cap == 3


async def test_disposing_with_connections_in_use_does_not_double_the_cap() -> None:
    server, pool = async_pool(2)
    held = [await greenlet_spawn(pool.connect) for _ in range(2)]
    await greenlet_spawn(pool.dispose)
    again = pool.recreate()
    waiting = [asyncio.create_task(use(again, 1)) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert server.open == 2
    for connection in held:
        await greenlet_spawn(connection.close)
    await asyncio.gather(*waiting)
    assert server.most == 2


async def test_what_was_in_use_at_a_dispose_is_renewed() -> None:
    server, pool = async_pool(1)
    held = await greenlet_spawn(pool.connect)
    await asyncio.sleep(0.02)
    await greenlet_spawn(pool.dispose)
    again = pool.recreate()
    await greenlet_spawn(held.close)
    await use(again, 0)
    assert server.opened == 2


async def test_a_pool_that_holds_back_opens_one_until_it_may_go_on() -> None:
    class Hooks(PoolHooks):
        def opened_first(self, pool: ResizableQueuePool, record: ConnectionPoolEntry) -> None:
            await_only(asyncio.wait_for(may_go_on.wait(), 5))

    may_go_on = asyncio.Event()
    server, pool = async_pool(5, hooks=Hooks(), holds_back=True)
    waiting = [asyncio.create_task(use(pool, 50)) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert server.open == 1
    may_go_on.set()
    await asyncio.gather(*waiting)
    assert server.most == 5


async def test_it_tells_that_everything_fits_only_when_it_does() -> None:
    class Hooks(PoolHooks):
        def fits(self, pool: ResizableQueuePool) -> None:
            told.append((server.open, pool.cap))

    told: list[tuple[int, int]] = []
    server, pool = async_pool(4, hooks=Hooks())
    held = [await greenlet_spawn(pool.connect) for _ in range(4)]
    told.clear()
    await greenlet_spawn(pool.resize, 2, 0)
    assert told == []
    for connection in held:
        await greenlet_spawn(connection.close)
    assert told
    assert all(count <= cap for count, cap in told)


@given(seed=st.integers(0, 2**32), workers=st.integers(1, 20), caps=st.lists(st.integers(1, 12), min_size=1))
@settings(max_examples=60, deadline=None)
def test_tasks_under_random_resizes(seed: int, workers: int, caps: list[int]) -> None:
    """No checkout fails or waits for ever, and never is more open than the larger of two caps."""
    asyncio.run(run_tasks(random.Random(seed), workers, caps))


async def run_tasks(chance: random.Random, workers: int, caps: list[int]) -> None:
    server, pool = async_pool(caps[0])
    fates = ("return", "return", "return", "invalidate", "cancel")

    async def work() -> None:
        for _ in range(10):
            fate = chance.choice(fates)
            task = asyncio.create_task(use(pool, chance.randrange(6), fate))
            if fate == "cancel":
                await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    running = [asyncio.create_task(work()) for _ in range(workers)]
    for cap in caps:
        server.most, allowed = server.open, max(pool.existing, cap)
        keep = chance.randint(1, cap)
        await greenlet_spawn(pool.resize, keep, cap - keep)
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        assert server.most <= allowed
    await asyncio.wait_for(asyncio.gather(*running), 30)
    await greenlet_spawn(pool.resize, 1, 0)
    await asyncio.sleep(0.01)
    assert (pool.waiting, pool.checkedout(), pool._closing) == (0, 0, 0)
    assert server.open == pool.existing <= 1


@given(seed=st.integers(0, 2**32), workers=st.integers(2, 12), caps=st.lists(st.integers(1, 8), min_size=1))
@settings(max_examples=20, deadline=None)
def test_threads_under_random_resizes(seed: int, workers: int, caps: list[int]) -> None:
    server, pool = thread_pool(caps[0])
    failures: list[BaseException] = []

    def work(number: int) -> None:
        chance = random.Random(seed + number)
        try:
            for _ in range(20):
                connection = pool.connect()
                time.sleep(chance.choice((0, 0, 0.0005)))
                if chance.random() < 0.2:
                    connection.invalidate()
                connection.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for cap in caps:
        pool.resize(max(1, cap // 2), cap - max(1, cap // 2))
        time.sleep(0.001)
    for thread in threads:
        thread.join(30)
    assert not failures
    assert server.most <= max(caps)
    pool.resize(1, 0)
    assert (pool.waiting, pool.checkedout(), pool._closing) == (0, 0, 0)
    assert server.open == pool.existing <= 1


async def test_a_first_connect_that_fails_does_not_hold_the_pool_back_for_good() -> None:
    """The place of the failed one goes to a waiter as an empty record, which must not pass by the hook."""
    asked: list[int] = []

    class Hooks(PoolHooks):
        def opened_first(self, pool: ResizableQueuePool, record: ConnectionPoolEntry) -> None:
            asked.append(pool.existing)

    server = Server(async_pause)
    failures = iter([True])

    def connect() -> Connection:
        async_pause()
        if next(failures, False):
            raise ConnectionError("starting up")
        return server.connect()

    pool = AsyncResizableQueuePool(connect, 5, 0, 5, hooks=Hooks(), holds_back=True)
    tasks = [asyncio.create_task(use(pool, 30)) for _ in range(10)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(item) for item in done].count(ConnectionError) == 1
    assert asked == [1]
    assert server.most == 5


async def test_a_connection_that_comes_back_after_a_dispose_is_closed() -> None:
    server, pool = async_pool(2)
    held = await greenlet_spawn(pool.connect)
    await asyncio.sleep(0.02)
    await greenlet_spawn(pool.dispose)
    again = pool.recreate()
    await greenlet_spawn(held.close)
    assert server.open == 0
    assert again.checkedin() == 0


def test_a_pool_goes_on_in_another_event_loop() -> None:
    _, pool = async_pool(1)

    async def first() -> None:
        held = await greenlet_spawn(pool.connect)
        waiting = asyncio.create_task(use(pool, 1))
        await asyncio.sleep(0.01)
        await greenlet_spawn(held.close)
        await waiting

    asyncio.run(first())
    asyncio.run(use(pool, 1))


def test_connections_of_a_lost_event_loop_count_no_more_when_they_come_back() -> None:
    """Somebody kept them beyond its end: they must not make room that others have taken."""
    server, pool = async_pool(2)
    kept: list[Any] = []

    async def first() -> None:
        kept.extend([await greenlet_spawn(pool.connect) for _ in range(2)])

    async def second() -> None:
        mine = [await greenlet_spawn(pool.connect) for _ in range(2)]
        for connection in kept:
            await greenlet_spawn(connection.close)
        assert pool.existing == 2
        assert server.open == 2
        await asyncio.gather(*(greenlet_spawn(connection.close) for connection in mine))
        assert (pool.existing, pool.checkedin()) == (2, 2)

    asyncio.run(first())
    asyncio.run(second())


async def test_who_is_closed_on_return_is_asked_to_say_nothing() -> None:
    said: list[int] = []

    class Hooks(PoolHooks):
        def has_to_speak(self, record: ConnectionPoolEntry) -> bool:
            return True

        def returned(self, pool: ResizableQueuePool, record: ConnectionPoolEntry) -> None:
            said.append(id(record))

    _, pool = async_pool(3, hooks=Hooks())
    held = [await greenlet_spawn(pool.connect) for _ in range(3)]
    await greenlet_spawn(pool.resize, 1, 0)
    for connection in held:
        await greenlet_spawn(connection.close)
    assert len(said) == 1
