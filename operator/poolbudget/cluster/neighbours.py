"""Other PoolBudgets on the same server: what their pods may open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, Object
from poolbudget.cluster.observed import Neighbour


async def with_shares(api: Api, neighbours: Iterable[Neighbour]) -> tuple[Neighbour, ...]:
    """The neighbours, those with a share with what they hold now. Raises ApiError."""
    return tuple(await asyncio.gather(*(_looked_at(api, item) for item in neighbours)))


async def _looked_at(api: Api, neighbour: Neighbour) -> Neighbour:
    if neighbour.share is None:
        return neighbour
    manifest = await api.find(paths.budget(neighbour.namespace, neighbour.budget))
    return neighbour if manifest is None else replace(neighbour, held=held_by(manifest))


def held_by(manifest: Object) -> int:
    """What a PoolBudget's pods may open, by its status.

    Until its operator has seen a changed spec, such as a smaller share, all that was usable for it before
    may still be handed out.
    """
    status = manifest.get("status") or {}
    allocated: int = status.get("allocated") or 0
    if status.get("observedGeneration") != manifest["metadata"].get("generation"):
        return max(allocated, status.get("usable") or 0)
    return allocated
