"""The keyed work queue."""

import asyncio
from collections.abc import Callable

import pytest

from poolbudget.runtime.queue import WorkQueue


class Recorder:
    """Counts turns, and can be made to wait or fail."""

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.running = 0
        self.most_running = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = 0

    async def process(self, key: str) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.turns.append(key)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.running -= 1
        if self.failures:
            self.failures -= 1
            raise RuntimeError("as told")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited tells nobody
            await asyncio.sleep(0.001)


async def test_the_first_mark_is_worked_on_at_once() -> None:
    recorder = Recorder()
    queue = WorkQueue(recorder.process, gather_for=60)
    queue.mark("a")
    await until(lambda: recorder.turns == ["a"])
    await queue.close()


async def test_a_burst_of_marks_is_two_turns() -> None:
    recorder = Recorder()
    queue = WorkQueue(recorder.process, gather_for=1)
    for _ in range(300):
        queue.mark("a")
        await asyncio.sleep(0)
    await until(lambda: len(recorder.turns) == 2)
    await asyncio.sleep(0.1)
    assert recorder.turns == ["a", "a"]
    await queue.close()


async def test_an_urgent_mark_is_not_gathered() -> None:
    recorder = Recorder()
    queue = WorkQueue(recorder.process, gather_for=60)
    queue.mark("a")
    await until(lambda: len(recorder.turns) == 1)
    queue.mark("a")
    queue.mark("a", urgent=True)
    await until(lambda: len(recorder.turns) == 2)
    await queue.close()


async def test_a_mark_during_a_turn_leads_to_another_and_never_to_two_at_once() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    queue = WorkQueue(recorder.process, gather_for=0)
    queue.mark("a")
    await until(lambda: recorder.running == 1)
    queue.mark("a", urgent=True)
    await asyncio.sleep(0.02)
    assert recorder.turns == ["a"]
    recorder.gate.set()
    await until(lambda: len(recorder.turns) == 2)
    assert recorder.most_running == 1
    await queue.close()


async def test_keys_do_not_wait_for_each_other() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    queue = WorkQueue(recorder.process)
    queue.mark("a")
    queue.mark("b")
    await until(lambda: recorder.running == 2)
    recorder.gate.set()
    await queue.close()


async def test_a_failed_turn_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    recorder.failures = 1
    queue = WorkQueue(recorder.process)
    queue.mark("a")
    await until(lambda: len(recorder.turns) == 2)
    assert "a: as told; again in 0.2 s" in caplog.text
    await queue.close()


async def test_a_later_look_gives_way_to_an_event() -> None:
    recorder = Recorder()
    queue = WorkQueue(recorder.process, gather_for=0)
    queue.mark_after("a", 60)
    await asyncio.sleep(0.01)
    assert recorder.turns == []
    queue.mark("a")
    await until(lambda: recorder.turns == ["a"])
    await queue.close()


async def test_a_key_that_failed_ten_thousand_times_is_still_worked_on() -> None:
    recorder = Recorder()
    recorder.failures = 1
    queue = WorkQueue(recorder.process, gather_for=0)
    queue.mark_after("a", 0.01)
    queue._entries["a"].failures = 10_000
    await until(lambda: len(recorder.turns) == 1)
    queue.mark("a", urgent=True)
    await until(lambda: len(recorder.turns) == 2)
    await queue.close()


async def test_the_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poolbudget.runtime.queue._GRACE", 0.05)
    recorder = Recorder()
    recorder.gate.clear()
    queue = WorkQueue(recorder.process)
    queue.mark("a")
    await until(lambda: recorder.running == 1)
    await asyncio.wait_for(queue.close(), 5)


async def test_quiet_keys_take_no_memory() -> None:
    recorder = Recorder()
    queue = WorkQueue(recorder.process, gather_for=0.01)
    for index in range(50):
        queue.mark(str(index))
    await until(lambda: len(recorder.turns) == 50)
    await until(lambda: not queue._entries)
    await queue.close()
