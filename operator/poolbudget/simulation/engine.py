"""Discrete events: a clock of its own, seeded randomness, and tasks whose every request may go wrong."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class NoAnswer(Exception):
    """A request was not answered in time: it may have gone through, may yet, or never will."""


@dataclass(slots=True)
class Request(Generic[Result]):
    """Something asked of the API server; `action` happens there, at once and as a whole."""

    action: Callable[[], Result]
    is_write: bool = False

    def __await__(self) -> Generator[Request[Result], Result, Result]:
        return (yield self)


@dataclass(frozen=True, slots=True)
class Network:
    """How requests fare: seconds each way, and the chances of what goes wrong with a write.

    `lost_reply`: it goes through and nobody hears of it; `lost`: it never arrives; `late`: the caller
    has given up when it arrives. `crash`: the caller is killed just before or after it arrives.
    `timeout` is when a caller gives up.
    """

    latency: tuple[float, float] = (0.001, 0.02)
    lost_reply: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    timeout: float = 10.0
    crash: float = 0.0


class Simulation:
    """The clock (seconds), the queue of events, and the random numbers of one run."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)  # noqa: S311 - a simulation has to be repeatable
        self.trace: list[tuple[float, str]] = []
        self.events = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.after_each: Callable[[], None] = lambda: None

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Let something happen in a while."""
        heapq.heappush(self._queue, (self.now + max(0.0, seconds), next(self._order), action))

    def between(self, bounds: tuple[float, float]) -> float:
        """A random number of seconds."""
        return self.random.uniform(*bounds)

    def chance(self, probability: float) -> bool:
        """Whether something that happens with this probability happens now."""
        return probability > 0 and self.random.random() < probability

    def note(self, words: str) -> None:
        """Keep an event for the trace."""
        self.trace.append((self.now, words))

    def run(self, until: float) -> None:
        """Let everything happen that is due by then."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            self.events += 1
            self.after_each()
        self.now = until


class Task:
    """A coroutine whose requests travel over a network. Killed, it never hears of anything again."""

    def __init__(
        self,
        simulation: Simulation,
        coroutine: Coroutine[Any, Any, None],
        network: Callable[[], Network],
        done: Callable[[BaseException | None], None],
        crash: Callable[[], None] = lambda: None,
    ) -> None:
        """`crash` kills whoever runs the task."""
        self._simulation = simulation
        self._coroutine = coroutine
        self._network = network
        self._done = done
        self._crash = crash
        self._is_alive = True
        self._step(lambda: self._coroutine.send(None))

    def kill(self) -> None:
        """What is under way to the API server still arrives there."""
        self._is_alive = False
        self._coroutine.close()

    def _step(self, resume: Callable[[], Request[Any]]) -> None:
        if not self._is_alive:
            return
        try:
            request = resume()
        except StopIteration:
            self._end(None)
        except Exception as error:
            self._end(error)
        else:
            self._send(request)

    def _end(self, error: BaseException | None) -> None:
        self._is_alive = False
        self._done(error)

    def _send(self, request: Request[Any]) -> None:
        simulation, network = self._simulation, self._network()
        there, back = simulation.between(network.latency), simulation.between(network.latency)
        if request.is_write and simulation.chance(network.crash):
            simulation.after(simulation.between((0.0, there + back)), self._crash)
        if request.is_write and simulation.chance(network.lost):
            simulation.note("  a write is lost")
            simulation.after(network.timeout, self._give_up)
        elif request.is_write and simulation.chance(network.lost_reply):
            simulation.note("  the reply to a write is lost")
            simulation.after(there, lambda: _discard(_perform(request)))
            simulation.after(network.timeout, self._give_up)
        elif request.is_write and simulation.chance(network.late):
            simulation.note("  a write is on its way for long")
            delay = simulation.between((network.timeout, 4 * network.timeout))
            simulation.after(delay, lambda: _discard(_perform(request)))
            simulation.after(network.timeout, self._give_up)
        else:
            simulation.after(there, lambda: self._arrive(request, back))

    def _arrive(self, request: Request[Any], back: float) -> None:
        answer, error = _perform(request)
        if error is not None:
            self._simulation.after(back, lambda: self._step(lambda: self._coroutine.throw(error)))
        else:
            self._simulation.after(back, lambda: self._step(lambda: self._coroutine.send(answer)))

    def _give_up(self) -> None:
        self._step(lambda: self._coroutine.throw(NoAnswer("no answer in time")))


def _perform(request: Request[Any]) -> tuple[Any, Exception | None]:
    try:
        return request.action(), None
    except Exception as error:
        return None, error


def _discard(_: object) -> None:
    """Nobody hears of the answer."""
