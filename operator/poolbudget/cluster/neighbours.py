"""Other PoolBudgets on the same server: what their pods may open."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import replace

from poolbudget.capacity.reading import Reading, known_capacity
from poolbudget.capacity.shares import Holder, Share
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
    if manifest is None:
        return neighbour
    held = held_by(manifest)
    return replace(neighbour, held=held, held_on_server=min(held, _server_side(manifest, held)))


def _server_side(manifest: Object, held: int) -> int:
    """Connections that come of a PoolBudget's on the server: behind a pooler only the pooler's own."""
    pooler = ((manifest.get("status") or {}).get("capacity") or {}).get("pooler") or {}
    servers = pooler.get("serverConnections")
    return servers if isinstance(servers, int) and pooler.get("mode") == "Transaction" else held


def share_of(percent: int, neighbours: Iterable[Neighbour]) -> Share:
    """The share, and who has the others."""
    sharing = [item for item in neighbours if item.share is not None]
    return Share(
        percent,
        tuple(Holder(item.share or 0, item.held_on_server or 0) for item in sharing),
        tuple(Holder(item.share or 0, item.held or 0) for item in sharing if item.is_same_endpoint),
    )


async def read_siblings(reader: Reader, namespace: str, names: tuple[str, ...]) -> tuple[Sibling, ...]:
    """What other PoolBudgets of the same pods know of their servers. Raises ApiError."""
    manifests = await asyncio.gather(*(reader.find(paths.budget(namespace, name)) for name in names))
    found = []
    for name, manifest in zip(names, manifests, strict=True):
        if manifest is None:
            continue
        with contextlib.suppress(InvalidSpecError):
            spec = parse_spec(manifest)
            told = ((manifest.get("status") or {}).get("capacity") or {}).get("maxConnections")
            recovery = ((manifest.get("status") or {}).get("capacity") or {}).get("recovery")
            connections = told if isinstance(told, int) else _declared(spec)
            if connections is not None:
                is_replica = bool(recovery) or spec.endpoint.is_replica_by_name
                found.append(Sibling(name, connections, is_replica))
    return tuple(found)


def _declared(spec: PoolBudgetSpec) -> int | None:
    known = known_capacity(spec, Reading(), None, "")
    return None if known is None or known.limits is None else known.limits.max_connections


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
                    Neighbour(
                        name,
                        tuple(sorted(shared)),
                        found.namespace,
                        found.name,
                        theirs.endpoint.share,
                        is_same_endpoint=theirs.endpoint.normal_address == spec.endpoint.normal_address,
                    )
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
