"""The steps of a reconcile, carried out on the API server."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, ApiError, Object
from poolbudget.cluster.apply import Change, Written, changes, touch, write_all
from poolbudget.cluster.ledger import ledger_status
from poolbudget.cluster.observed import Observed
from poolbudget.cluster.pod_shares import overdue, pod_changes, tell, touched_pods
from poolbudget.cluster.status import write_status
from poolbudget.planning.ledger import Ledger
from poolbudget.planning.plan import Plan
from poolbudget.planning.telling import Telling
from poolbudget.reconcile import MOST_AGE, Conflict, pods_of, target_of


class ClusterSurroundings:
    """One reconcile of one PoolBudget.

    `written`, `told`, `touched` and `failed` tell afterwards what became of its writes, `untold` which pods
    could not be told, and why. In `overdue_in` seconds the next annotation is to be written once more.
    """

    def __init__(
        self,
        api: Api,
        look: Callable[[bool], Awaitable[Observed]],
        report: Callable[[Observed, Plan], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """`look` gathers, with True so that no pod can be missing; `clock` gives seconds since 1970."""
        self._api = api
        self._look = look
        self._report = report
        self._clock = clock
        self._looked_at = 0.0
        self.written: list[Written] = []
        self.failed: dict[str, ApiError] = {}
        self.touched: dict[str, str] = {}
        self.told: list[Telling] = []
        self.untold: dict[str, ApiError] = {}
        self.overdue_in: float | None = None

    async def look(self) -> Observed:
        """Read the ledger, then everything else; pods come from the cache."""
        return await self._look(False)

    async def look_again(self) -> Observed:
        """Read everything anew, pods too."""
        self._looked_at = time.monotonic()
        return await self._look(True)

    async def lower(self, seen: Observed, decided: Plan) -> bool:
        """Write what the plan changes without raising it. Raises Conflict."""
        todo = [item for item in changes(seen, decided) if not item.raises]
        await self._write(seen, todo)
        now = self._clock()
        late, self.overdue_in = overdue(seen, decided, now)
        shrinking = [item for item in pod_changes(seen, decided, now) if not item.raises]
        await self._tell(seen, [*shrinking, *late])
        return any(item.before is not None and item.wanted.sizes.cap < item.before.cap for item in todo)

    def raised(self, seen: Observed, decided: Plan) -> frozenset[str]:
        """What the plan raises; nothing while a ConfigMap cannot be lowered."""
        if self.failed:
            return frozenset()
        growing = (item for item in pod_changes(seen, decided, self._clock()) if item.raises)
        return frozenset(
            [
                *(item.wanted.name for item in changes(seen, decided) if item.raises),
                *(pods_of(item.target) for item in growing),
            ]
        )

    async def claim(self, seen: Observed, names: frozenset[str]) -> Observed:
        """Write a claim into the ledger. Raises Conflict, or ApiError."""
        number = seen.next_revision(self._clock())
        ledger = Ledger(number, tuple(sorted(names)), seen.lost)
        status = {**(seen.manifest.get("status") or {}), "ledger": ledger_status(ledger)}
        manifest = await self._status(seen.manifest, status)
        return replace(seen, manifest=manifest, ledger=ledger)

    async def touch(self, claimed: Observed, names: frozenset[str]) -> None:
        """Write ConfigMaps and annotations anew, raising nothing. Raises Conflict, or ApiError."""
        keys = sorted(key for key in map(target_of, names) if key is not None)
        if keys:
            await self._tell(claimed, touched_pods(claimed, keys[0], self._clock()))
            for error in self.untold.values():
                raise error
        for name in sorted(name for name in names if target_of(name) is None):
            try:
                version = await touch(self._api, claimed, name, claimed.ledger.claim, self._clock())
                if version is not None:
                    self.touched[name] = version
            except ApiError as error:
                if error.is_not_found:
                    raise Conflict(f"ConfigMap {name} was deleted meanwhile") from error
                raise _conflict(error) from error

    async def check(self, seen: Observed) -> None:
        """Raise Conflict if the PoolBudget was written since it was seen."""
        budget = seen.reference
        now = await self._api.find(paths.budget(budget.namespace, budget.name))
        if now is None or now["metadata"]["resourceVersion"] != seen.version:
            raise Conflict("the PoolBudget was written meanwhile")

    async def raise_(self, seen: Observed, decided: Plan) -> bool:
        """Write what the plan raises, unless a smaller size could not be written.

        Raises Conflict, or ApiError where a write may yet arrive.
        """
        if self.failed:
            return False
        if time.monotonic() - self._looked_at > MOST_AGE:
            raise Conflict("what was seen is too old to raise anything")
        await self._write(seen, [item for item in changes(seen, decided) if item.raises])
        growing = [item for item in pod_changes(seen, decided, self._clock()) if item.raises]
        await self._tell(seen, growing)
        for error in (*self.failed.values(), *self.untold.values()):
            if error.is_uncertain:
                # It may yet arrive: the claim has to stay.
                raise error
        return True

    async def report(self, seen: Observed, decided: Plan) -> None:
        """Write the status. Raises Conflict, or ApiError."""
        try:
            await self._report(seen, decided)
        except ApiError as error:
            raise _conflict(error) from error

    async def _write(self, seen: Observed, todo: list[Change]) -> None:
        written, failed = await write_all(self._api, seen, todo, self._clock())
        self.written += written
        for name, error in failed.items():
            if error.is_conflict:
                raise _conflict(error) from error
            self.failed[name] = error

    async def _tell(self, seen: Observed, todo: list[Telling]) -> None:
        """A pod that cannot be told keeps its charge: no reason to hold others back."""
        written, failed = await tell(self._api, seen, todo)
        self.told += written
        for change, error in failed:
            if error.is_conflict:
                raise Conflict(error.message) from error
            if error.is_not_found:
                continue  # gone: it opens nothing, and needs to be told nothing
            self.untold[seen.pods[change.uid].name] = error

    async def _status(self, manifest: Object, status: Object) -> Object:
        try:
            return await write_status(self._api, manifest, status)
        except ApiError as error:
            raise _conflict(error) from error


def _conflict(error: ApiError) -> Exception:
    return Conflict(error.message) if error.is_conflict else error
