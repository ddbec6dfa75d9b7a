"""Other PoolBudgets on the same server: what their pods may open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import replace

from poolbudget.cluster import paths
from poolbudget.cluster.api import Object, Reader
from poolbudget.cluster.observed import InvalidSpecError, Neighbour, Sibling, parse_spec, reference
from poolbudget.resource.spec import PoolBudgetSpec


async def with_shares(reader: Reader, neighbours: Iterable[Neighbour]) -> tuple[Neighbour, ...]:
    """The neighbours, those with a share with what they hold now. Raises ApiError."""
    return tuple(await asyncio.gather(*(_looked_at(reader, item) for item in neighbours)))


async def _looked_at(reader: Reader, neighbour: Neighbour) -> Neighbour:
    if neighbour.share is None:
        return neighbour
    manifest = await reader.find(paths.budget(neighbour.namespace, neighbour.budget))
    return neighbour if manifest is None else replace(neighbour, held=held_by(manifest))


async def read_siblings(reader: Reader, namespace: str, names: tuple[str, ...]) -> tuple[Sibling, ...]:
    """What the statuses of other PoolBudgets of the same pods say of their servers. Raises ApiError."""
    manifests = await asyncio.gather(*(reader.find(paths.budget(namespace, name)) for name in names))
    found = []
    for name, manifest in zip(names, manifests, strict=True):
        capacity = ((manifest or {}).get("status") or {}).get("capacity") or {}
        if isinstance(capacity.get("connections"), int):
            found.append(Sibling(name, capacity["connections"], bool(capacity.get("recovery"))))
    return tuple(found)


def neighbours_among(
    manifest: Object, spec: PoolBudgetSpec, everything: Iterable[Object]
) -> tuple[tuple[Neighbour, ...], tuple[str, ...]]:
    """Of all PoolBudgets, neighbours on the same server, and names of siblings: the same pods elsewhere."""
    own, servers = reference(manifest), spec.endpoint.servers
    targets = {item.key for item in spec.targets}
    neighbours, siblings = [], []
    for other in everything:
        found = reference(other)
        if (found.namespace, found.name) == (own.namespace, own.name):
            continue
        with contextlib.suppress(InvalidSpecError):
            theirs = parse_spec(other)
            is_near = found.namespace == own.namespace
            shared = targets & {item.key for item in theirs.targets} if is_near else set()
            if theirs.endpoint.servers & servers:
                name = found.name if is_near else str(found)
                neighbours.append(
                    Neighbour(name, tuple(sorted(shared)), found.namespace, found.name, theirs.endpoint.share)
                )
            elif shared:
                siblings.append(found.name)
    return tuple(neighbours), tuple(siblings)


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
