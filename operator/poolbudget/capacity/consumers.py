"""Who holds connections: the targets' own, and others, told apart by what the server shows of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LARGEST = 3


@dataclass(frozen=True, slots=True)
class Backends:
    """Connections that look the same from the server; "" where it does not show something."""

    role: str
    database: str
    application: str
    address: str
    connections: int
    long_transactions: int = 0

    @property
    def name(self) -> str:
        """Whose they are, for people: the application's name, else the role's."""
        who = self.application or "without a name"
        return f"{who} ({self.role})" if self.role else who


@dataclass(frozen=True, slots=True)
class Own:
    """What tells the targets' connections from others': pods' addresses, else roles and names.

    `held` is what the targets may open, None before anybody has worked that out.
    """

    roles: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    running: int = 0
    held: int | None = None

    def among(self, rows: Sequence[Backends]) -> list[Backends]:
        """Those that are the targets'.

        Where pods are recognised by their addresses, somebody else with their role, or of their name, is
        told apart by where he comes from.
        """
        has_addresses = any(row.address in self.addresses for row in rows)
        return [row for row in rows if self._owns(row, has_addresses)]

    def _owns(self, row: Backends, has_addresses: bool) -> bool:
        if row.address in self.addresses:
            return True
        is_elsewhere = has_addresses and bool(row.address)
        return not is_elsewhere and (row.role in self.roles or row.application in self.names)


@dataclass(frozen=True, slots=True)
class Others:
    """Connections that are not the targets', and the largest of those who hold them.

    `is_exact` is False where the targets' own could not be recognised: then only what goes beyond what
    they may open is counted. `direct` are the targets' own that come from their pods' addresses.
    """

    connections: int = 0
    in_database: int = 0
    of_role: int = 0
    largest: tuple[tuple[str, int], ...] = ()
    is_exact: bool = True
    long_transactions: int = 0
    direct: int = 0


NOBODY = Others()


def others(backends: Iterable[Backends], own: Own, database: str, role: str | None) -> Others:
    """Those connections that are not the targets'.

    Where pods run and none of their connections can be recognised (a proxy, address translation, host
    networking), those of others are not known either: only what goes beyond that which the targets may open
    is theirs for sure. So is what goes beyond it among connections that look like the targets' own.
    """
    rows = list(backends)
    mine = own.among(rows)
    rest = [row for row in rows if row not in mine]
    is_exact = bool(mine) or bool(own.roles) or not own.running or not rest
    connections = sum(row.connections for row in rest)
    direct = sum(row.connections for row in rows if row.address and row.address in own.addresses)
    counts = Counter[str]()
    for row in rest:
        counts[row.name] += row.connections
    if not is_exact:
        beyond = 0 if own.held is None else max(0, connections - own.held)
        return Others(beyond, 0, 0, (), False, _long(rows), direct)
    beyond = 0 if own.held is None else max(0, sum(row.connections for row in mine) - own.held)
    return Others(
        connections + beyond,
        beyond + sum(row.connections for row in rest if row.database == database),
        beyond + sum(row.connections for row in rest if role is not None and row.role == role),
        tuple(counts.most_common(_LARGEST)),
        True,
        _long(rows),
        direct,
    )


def _long(rows: Iterable[Backends]) -> int:
    return sum(row.long_transactions for row in rows)


def peak(samples: Iterable[Others]) -> Others:
    """The most of each that was seen: a short lull must not hand out what is needed again."""
    seen = list(samples)
    if not seen:
        return NOBODY
    most = max(seen, key=lambda item: item.connections)
    return Others(
        most.connections,
        max(item.in_database for item in seen),
        max(item.of_role for item in seen),
        most.largest,
        seen[-1].is_exact,
        max(item.long_transactions for item in seen),
        max(item.direct for item in seen),
    )
