"""Which PoolBudgets an event concerns. Built from events, so a hint and never the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from poolbudget.cluster.api import Object
from poolbudget.cluster.config_map import BudgetReference
from poolbudget.cluster.observed import Neighbour
from poolbudget.planning.inputs import TargetKey, UpdateMode
from poolbudget.resource.endpoint import PoolerType
from poolbudget.resource.spec import PoolBudgetSpec


class BudgetKey(NamedTuple):
    """A PoolBudget."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class BudgetEntry:
    """What decides whom an event concerns; `version` is the uid and generation of the spec.

    `servers` are names of the server: who has one in common is on the same. `role` is whose
    connections are the targets'. `follows`: pods of some target follow their shares.
    """

    version: tuple[str, int]
    servers: frozenset[str]
    targets: frozenset[TargetKey]
    config_maps: tuple[str, ...] = ()
    address: str = ""
    has_pooler: bool = False
    share: int | None = None
    role: str | None = None
    follows: bool = False

    @classmethod
    def of(cls, metadata: Object, spec: PoolBudgetSpec) -> BudgetEntry:
        """The entry of a PoolBudget."""
        targets = frozenset(item.key for item in spec.targets)
        names = tuple(item.config_map_name for item in spec.targets)
        version = (metadata["uid"], metadata["generation"])
        probe = spec.capacity.probe
        role = None if probe is None else probe.application_role
        return cls(
            version,
            spec.endpoint.servers,
            targets,
            names,
            spec.endpoint.normal_address,
            spec.endpoint.pooler.type is not PoolerType.NONE,
            spec.endpoint.share,
            role,
            any(item.update_mode is UpdateMode.IN_PLACE for item in spec.targets),
        )

    def reference(self, key: BudgetKey) -> BudgetReference:
        """The PoolBudget, for an Event about it."""
        return BudgetReference(key.namespace, key.name, self.version[0])


class BudgetIndex:
    """All PoolBudgets by name, target and server."""

    def __init__(self) -> None:
        self._entries: dict[BudgetKey, BudgetEntry] = {}

    def get(self, key: BudgetKey) -> BudgetEntry | None:
        """The entry of a PoolBudget, if it is known."""
        return self._entries.get(key)

    def put(self, key: BudgetKey, entry: BudgetEntry) -> None:
        """Remember a PoolBudget as it is now."""
        self._entries[key] = entry

    def remove(self, key: BudgetKey) -> None:
        """Forget a PoolBudget."""
        self._entries.pop(key, None)

    def all(self) -> list[BudgetKey]:
        """All PoolBudgets."""
        return list(self._entries)

    def binding(self, namespace: str, target: TargetKey) -> list[BudgetKey]:
        """The PoolBudgets that bind a workload."""
        return [
            key
            for key, entry in self._entries.items()
            if key.namespace == namespace and target in entry.targets
        ]

    def in_namespace(self, namespace: str) -> list[BudgetKey]:
        """The PoolBudgets of a namespace."""
        return [key for key in self._entries if key.namespace == namespace]

    def neighbours(self, key: BudgetKey) -> tuple[Neighbour, ...]:
        """Other PoolBudgets on the same server, wherever they are."""
        entry = self._entries.get(key)
        return () if entry is None else tuple(self._neighbours(key, entry))

    def siblings(self, key: BudgetKey) -> tuple[str, ...]:
        """Names of other PoolBudgets that bind one of the same targets on another server."""
        entry = self._entries.get(key)
        if entry is None:
            return ()
        return tuple(
            other.name
            for other in sorted(self.in_namespace(key.namespace))
            if other != key
            and not self._entries[other].servers & entry.servers
            and self._entries[other].targets & entry.targets
        )

    def on_servers(self, servers: frozenset[str]) -> list[BudgetKey]:
        """The PoolBudgets on a server that has one of these names."""
        return [key for key, entry in self._entries.items() if entry.servers & servers]

    def near(self, key: BudgetKey) -> list[BudgetKey]:
        """Other PoolBudgets on the same server, wherever they are."""
        entry = self._entries.get(key)
        return [] if entry is None else sorted(set(self.on_servers(entry.servers)) - {key})

    def _neighbours(self, key: BudgetKey, entry: BudgetEntry) -> Iterator[Neighbour]:
        for other in self.near(key):
            same_namespace = other.namespace == key.namespace
            shared = entry.targets & self._entries[other].targets if same_namespace else frozenset()
            name = other.name if same_namespace else str(other)
            share = self._entries[other].share
            theirs = self._entries[other]
            yield Neighbour(
                name,
                tuple(sorted(shared)),
                other.namespace,
                other.name,
                share,
                is_same_endpoint=theirs.address == entry.address,
            )
