"""Asks each PoolBudget's database at its interval, apart from the reconciles."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.probe import DatabaseProbe
from poolbudget.capacity.reading import Reading
from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, ApiError
from poolbudget.resource.conditions import Reason
from poolbudget.resource.quantities import seconds
from poolbudget.resource.spec import Probe, SecretKeyRef
from poolbudget.runtime.index import BudgetKey

logger = logging.getLogger(__name__)

_FIRST_RETRY = 2.0
"""Seconds after a failed probe; doubled with each failure, up to the interval."""


class Prober:
    """Keeps the last reading of each PoolBudget that has a probe."""

    def __init__(self, api: Api, changed: Callable[[BudgetKey], None]) -> None:
        """`changed` is told when a reading differs from the one before."""
        self._api = api
        self._changed = changed
        self._readings: dict[BudgetKey, Reading] = {}
        self._tasks: dict[BudgetKey, tuple[Probe, asyncio.Task[None]]] = {}

    def reading(self, key: BudgetKey) -> Reading:
        """The last reading; empty before the first answer."""
        return self._readings.get(key, Reading())

    def follow(self, key: BudgetKey, probe: Probe | None) -> None:
        """Probe as the spec says; a changed spec is tried at once."""
        current = self._tasks.get(key)
        if probe is None:
            self.forget(key)
        elif current is None or current[0] != probe or current[1].done():
            if current is not None:
                current[1].cancel()
                # Other credentials may lead to another server: its figures start afresh.
                self._readings.pop(key, None)
            task = asyncio.create_task(self._run(key, probe), name=f"probe {key}")
            self._tasks[key] = (probe, task)

    def forget(self, key: BudgetKey) -> None:
        """The PoolBudget is gone, or has no probe any more."""
        self._readings.pop(key, None)
        current = self._tasks.pop(key, None)
        if current is not None:
            current[1].cancel()

    async def close(self) -> None:
        """End all probes and their connections."""
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: BudgetKey, probe: Probe) -> None:
        interval = seconds(probe.interval)
        retry = _FIRST_RETRY
        url: str | None = None
        database: DatabaseProbe | None = None
        try:
            while True:
                try:
                    fresh = await self._secret_value(key.namespace, probe.url_secret_key_ref)
                    if database is None or fresh != url:
                        database = await self._reconnect(database, fresh)
                        url = fresh
                    limits = await database.limits()
                    self._store(key, Reading(limits))
                    wait, retry = interval, _FIRST_RETRY
                except Exception as error:
                    self._store(key, self._failed(key, error))
                    wait, retry = min(retry, interval), min(2 * retry, interval)
                await asyncio.sleep(wait)
        finally:
            if database is not None:
                await database.close()

    async def _reconnect(self, old: DatabaseProbe | None, url: str) -> DatabaseProbe:
        """Close before opening: never more than one connection."""
        if old is not None:
            await old.close()
        return DatabaseProbe(url)

    def _failed(self, key: BudgetKey, error: Exception) -> Reading:
        """The last good figures stay, with the trouble."""
        if not isinstance(error, ProbeFailure):
            logger.warning("%s: probing failed unexpectedly: %s", key, type(error).__name__)
            logger.debug("Details", exc_info=error)
            error = ProbeFailure(Reason.PROBE_FAILED, f"the probe failed: {type(error).__name__}")
        last = self.reading(key)
        return replace(last, failure=error)

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
