"""Events: what was published and told, and what the checks have found."""

from __future__ import annotations

import logging
import socket

from poolbudget.cluster import events
from poolbudget.cluster.api import Api, ApiError, Object
from poolbudget.cluster.pod_shares import in_words
from poolbudget.cluster.surroundings import ClusterSurroundings
from poolbudget.lint.finding import Finding, Severity
from poolbudget.runtime.index import BudgetIndex, BudgetKey

logger = logging.getLogger(__name__)


class Announcer:
    """Posts Events; one that cannot be posted is no reason to try everything again."""

    def __init__(self, api: Api, index: BudgetIndex) -> None:
        self._api = api
        self._index = index
        self._instance = socket.gethostname()
        self._warned: dict[BudgetKey, set[tuple[str, str]]] = {}

    async def announce(self, key: BudgetKey, surroundings: ClusterSurroundings) -> None:
        """An Event for each new size, and one for the shares that a turn has told."""
        for change in (item.change for item in surroundings.written):
            if change.before == change.wanted.sizes:
                continue
            logger.info("%s: %s", key, change)
            await self._post(key, "SizesPublished", str(change))
        for words in in_words(change for change in surroundings.told if not change.grant.touched):
            logger.info("%s: %s", key, words)
            await self._post(key, "SharesTold", words)

    async def warn(self, key: BudgetKey, manifest: Object, findings: list[Finding]) -> None:
        """An Event for each finding that the status did not have before."""
        old = (manifest.get("status") or {}).get("warnings") or []
        known = {(item.get("code"), item.get("subject")) for item in old}
        known |= self._warned.setdefault(key, set())
        for finding in findings:
            if (finding.code, finding.subject) in known or finding.severity is Severity.INFO:
                continue
            self._warned[key].add((finding.code, finding.subject))
            note = f"{finding.code} {finding.subject}: {finding.message}"
            await self._post(key, "Check", note, is_warning=True)

    def forget(self, key: BudgetKey) -> None:
        """A PoolBudget is gone."""
        self._warned.pop(key, None)

    async def _post(self, key: BudgetKey, reason: str, note: str, *, is_warning: bool = False) -> None:
        entry = self._index.get(key)
        if entry is None:
            return
        try:
            await events.post(
                self._api,
                entry.reference(key),
                reason,
                note,
                instance=self._instance,
                is_warning=is_warning,
            )
        except ApiError as error:
            logger.warning("%s: no Event posted: %s", key, error)
