"""Asks each PoolBudget's database at its interval, apart from the reconciles."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from poolbudget.capacity.child import Answer, ChildProbe, Question
from poolbudget.capacity.consumers import Others, Own, others, peak
from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.limits import ServerLimits
from poolbudget.capacity.pooler import AdminFigures
from poolbudget.capacity.probe import Report
from poolbudget.capacity.reading import Reading, confirmed, confirmed_admin, with_host
from poolbudget.capacity.sightings import Sighting
from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, ApiError
from poolbudget.resource.capacity import Probe
from poolbudget.resource.conditions import Reason
from poolbudget.resource.model import SecretKeyRef
from poolbudget.resource.quantities import seconds
from poolbudget.resource.spec import PoolBudgetSpec, ShareBy
from poolbudget.runtime import clock
from poolbudget.runtime.index import BudgetKey
from poolbudget.runtime.loads import LOOK, LoadTracker

logger = logging.getLogger(__name__)

_FIRST_RETRY = 2.0
"""Seconds after a failed probe; doubled with each failure, up to the interval. Also the time until a
higher limit is looked at again."""

_JITTER = 0.1
"""Part by which intervals differ, so that many PoolBudgets do not ask at the same moment."""

_MOST_DOUBLINGS = 8

_CLOSE_LOOK, _SECOND_LOOK, _CLOSE_FOR = 0.1, 1.0, 5.0
"""Seconds between two looks at what pods say: so soon after something has changed, and later."""

_WINDOW = 600.0
"""Seconds for which others are believed to come back."""

_LEAST_SAMPLES = 3
"""Looks for which they are believed in any case, however long the interval or an outage is."""

_MOST_SAMPLES = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """Who else was connected at one moment."""

    time: float
    others: Others
    other_clients: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of whom: a changed one starts afresh.

    `last` and `last_others` are what the status said of the server when the asking began.
    """

    probe: Probe
    host: str
    admin: SecretKeyRef | None
    by_console: bool
    last: ServerLimits | None = field(compare=False)
    last_others: tuple[Others, int] = field(compare=False)


class Prober:
    """Keeps the last reading of each PoolBudget that has a probe."""

    def __init__(
        self,
        api: Api,
        changed: Callable[[BudgetKey], None],
        own: Callable[[BudgetKey], Own],
        password_folder: Path,
    ) -> None:
        """`changed` is told when a reading differs from the one before.

        `own` says what tells a PoolBudget's pods from others, and what they may open.
        """
        self._api = api
        self._changed = changed
        self._own = own
        self._password_folder = password_folder
        self._readings: dict[BudgetKey, Reading] = {}
        self._tasks: dict[BudgetKey, tuple[Asked, asyncio.Task[None]]] = {}
        self._sightings: dict[BudgetKey, Sighting] = {}
        self._attention: dict[BudgetKey, float] = {}
        self._attended: dict[BudgetKey, asyncio.Event] = {}
        self.loads = LoadTracker()

    def reading(self, key: BudgetKey) -> Reading:
        """The last reading; empty before the first answer."""
        return self._readings.get(key, Reading())

    def sighting(self, key: BudgetKey) -> Sighting | None:
        """What pods said of themselves last; None before anybody has looked."""
        return self._sightings.get(key)

    def attend(self, key: BudgetKey, wanted: bool, *, has_told: bool) -> None:
        """Look often at what pods say of themselves, beside the probe's interval, while that is wanted.

        Very often at first, since `has_told`, or since something changed; then once a second.
        """
        if not wanted:
            self._attention.pop(key, None)
        elif has_told or key not in self._attention:
            self._stir(key)

    def _stir(self, key: BudgetKey) -> None:
        self._attention[key] = asyncio.get_running_loop().time()
        self._attended.setdefault(key, asyncio.Event()).set()

    def follow(
        self,
        key: BudgetKey,
        spec: PoolBudgetSpec,
        last: ServerLimits | None,
        last_others: tuple[Others, int],
    ) -> None:
        """Probe as the spec says; a changed spec is tried at once."""
        if spec.capacity.probe is None:
            self.forget(key)
            return
        by_demand = spec.share_by is ShareBy.DEMAND and not spec.endpoint.pooler.shares_connections
        if self.loads.measure(key, by_demand):
            self._attended.setdefault(key, asyncio.Event()).set()
        admin = spec.endpoint.pooler.admin_url_secret_key_ref
        by_console = spec.endpoint.pooler.shares_connections and admin is not None
        asked = Asked(spec.capacity.probe, spec.endpoint.host, admin, by_console, last, last_others)
        current = self._tasks.get(key)
        if current is None or current[0] != asked or current[1].done():
            if current is not None:
                current[1].cancel()
                # Other credentials may lead to another server: its figures start afresh.
                self._readings.pop(key, None)
                self._sightings.pop(key, None)
                self.loads.look_anew(key)
            task = asyncio.create_task(self._run(key, asked), name=f"probe {key}")
            self._tasks[key] = (asked, task)

    def forget(self, key: BudgetKey) -> None:
        """The PoolBudget is gone, or has no probe any more."""
        self._readings.pop(key, None)
        self._sightings.pop(key, None)
        self._attention.pop(key, None)
        self._attended.pop(key, None)
        self.loads.forget(key)
        current = self._tasks.pop(key, None)
        if current is not None:
            current[1].cancel()

    async def close(self) -> None:
        """End all probes and their connections."""
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: BudgetKey, asked: Asked) -> None:
        interval = seconds(asked.probe.interval)
        retry = _FIRST_RETRY
        samples = deque([Sample(clock.now(), *asked.last_others)], _MOST_SAMPLES)
        child = ChildProbe()
        try:
            while True:
                began = clock.now()
                question = await self._question(key, asked)
                answer = question if isinstance(question, Answer) else await self._ask(key, child, question)
                self._see(key, answer, began)
                reading = self._reading_after(key, asked, answer, samples)
                self._store(key, reading)
                if answer.report is None:
                    wait, retry = min(retry, interval), min(2 * retry, interval)
                else:
                    wait, retry = interval if reading.is_settled else _FIRST_RETRY, _FIRST_RETRY
                wait *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
                await self._attend(key, question, child, wait)
        finally:
            await child.close()

    async def _attend(
        self, key: BudgetKey, question: Question | Answer, child: ChildProbe, seconds: float
    ) -> None:
        """Until the next look at everything, see what pods say as often as that is wanted."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        attended = self._attended.setdefault(key, asyncio.Event())
        failures = 0
        while (left := ends - loop.time()) > 0:
            pause = self._pause(key)
            attended.clear()
            if pause is not None:
                left = min(left, pause * 2 ** min(failures, _MOST_DOUBLINGS))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await attended.wait()
            if self._pause(key) is not None and loop.time() < ends and isinstance(question, Question):
                began = clock.now()
                answer = await self._ask(key, child, replace(question, tags_only=True))
                failures = failures + 1 if answer.tagged is None else 0
                self._see(key, answer, began)

    def _pause(self, key: BudgetKey) -> float | None:
        """Seconds until the next look at what pods say; None where that is not wanted."""
        stirred = self._attention.get(key)
        if stirred is None:
            return LOOK if self.loads.is_measured(key) else None
        return _CLOSE_LOOK if asyncio.get_running_loop().time() < stirred + _CLOSE_FOR else _SECOND_LOOK

    def _see(self, key: BudgetKey, answer: Answer, began: float) -> None:
        if answer.tagged is None:
            return
        before, now = self._sightings.get(key), Sighting(began, answer.tagged)
        self._sightings[key] = now
        if self.loads.observe(key, now):
            self._changed(key)
        if before is None or before.essence != now.essence:
            if key in self._attention:
                self._stir(key)
            self._changed(key)

    async def _question(self, key: BudgetKey, asked: Asked) -> Question | Answer:
        """What to ask, with the Secrets as they are now; an answer at once where they are not to be had."""
        try:
            url = await self._secret_value(key.namespace, asked.probe.url_secret_key_ref)
            file = asked.probe.password_file
            return Question(
                url,
                asked.host,
                asked.probe.application_role,
                None if asked.admin is None else await self._admin_url(key, asked.admin),
                None if file is None else str(self._password_folder / key.namespace / file),
                by_console=asked.by_console,
            )
        except ProbeFailure as failure:
            return Answer(failure=failure)
        except Exception as error:
            return _unexpected(key, error)

    async def _admin_url(self, key: BudgetKey, reference: SecretKeyRef) -> str | ProbeFailure:
        """The database is asked in any case."""
        try:
            return await self._secret_value(key.namespace, reference)
        except ProbeFailure as failure:
            return failure

    async def _ask(self, key: BudgetKey, child: ChildProbe, question: Question) -> Answer:
        """One look; whatever goes wrong is an answer, too."""
        try:
            return await child.look(question)
        except Exception as error:
            return _unexpected(key, error)

    def _reading_after(self, key: BudgetKey, asked: Asked, answer: Answer, samples: deque[Sample]) -> Reading:
        """The reading after a look; an answer that makes no sense is a failure like any other."""
        try:
            return self._new_reading(key, asked, answer, samples)
        except Exception as error:
            logger.warning("%s: the probe's answer makes no sense: %s", key, type(error).__name__)
            failure = ProbeFailure(Reason.PROBE_FAILED, "the server's answer makes no sense")
            return replace(self.reading(key), failure=failure, awaited=None)

    def _new_reading(self, key: BudgetKey, asked: Asked, answer: Answer, samples: deque[Sample]) -> Reading:
        """The last good figures stay where there are no new ones."""
        before = replace(confirmed_admin(self.reading(key), answer.admin), admin_failure=answer.admin_failure)
        if answer.report is None:
            return replace(before, failure=answer.failure, awaited=None)
        samples.append(self._sample(key, asked, answer.report, answer.admin, samples[-1]))
        while len(samples) > _LEAST_SAMPLES and samples[0].time < samples[-1].time - _WINDOW:
            samples.popleft()
        return replace(
            with_host(confirmed(before, answer.report.limits, asked.last), answer.other_host),
            others=peak(sample.others for sample in samples),
            other_clients=max(sample.other_clients for sample in samples),
        )

    def _sample(
        self, key: BudgetKey, asked: Asked, report: Report, admin: AdminFigures | None, last: Sample
    ) -> Sample:
        """Who else is connected now, to the server and to the pooler."""
        own, role = self._own(key), asked.probe.application_role
        # A console that does not answer has not lost its clients.
        clients = last.other_clients if asked.admin is not None else 0
        if admin is not None:
            clients = others(admin.clients, own, report.database, role).connections
        return Sample(clock.now(), others(report.backends, own, report.database, role), clients)

    def _store(self, key: BudgetKey, reading: Reading) -> None:
        before = self._readings.get(key)
        self._readings[key] = reading
        if before != reading:
            if reading.failure is not None:
                logger.warning("%s: probing failed: %s", key, reading.failure)
            self._changed(key)

    async def _secret_value(self, namespace: str, reference: SecretKeyRef) -> str:
        """A key of a Secret. Raises ProbeFailure."""
        name, key = reference.name, reference.key
        try:
            secret = await self._api.get(paths.secret(namespace, name))
        except ApiError as error:
            if error.is_not_found:
                raise ProbeFailure(
                    Reason.SECRET_NOT_FOUND, f"Secret {name} not found in namespace {namespace}: create it"
                ) from None
            raise ProbeFailure(
                Reason.PROBE_FAILED, f"Secret {name} cannot be read: {error.message}"
            ) from None
        data = secret.get("data") or {}
        if key not in data:
            present = ", ".join(sorted(data)) or "none"
            raise ProbeFailure(
                Reason.SECRET_KEY_NOT_FOUND, f"Secret {name} has no key {key} (keys: {present}): add it"
            )
        with contextlib.suppress(ValueError):
            return base64.b64decode(data[key]).decode()
        raise ProbeFailure(Reason.URL_INVALID, f"key {key} of Secret {name} is not text")


def _unexpected(key: BudgetKey, error: Exception) -> Answer:
    logger.warning("%s: probing failed unexpectedly: %s", key, type(error).__name__)
    logger.debug("Details", exc_info=error)
    return Answer(failure=ProbeFailure(Reason.PROBE_FAILED, f"the probe failed: {type(error).__name__}"))
