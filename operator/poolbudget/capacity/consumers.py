"""Who holds connections: the targets' own, and others, told apart by what the server shows of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from poolbudget.resource.model import MAX_CONNECTIONS as _MOST
from poolbudget.tag import read_tag, without_tag

_LARGEST = 3

MOST_CHARACTERS = 63
"""Of a name, as PostgreSQL keeps it (NAMEDATALEN)."""

PROBE = "poolbudget-operator"
"""application_name of the operator's own connections: nobody's but its own."""


@dataclass(frozen=True, slots=True)
class Backends:
    """Connections that look the same from the server; "" where it does not show something.

    `active` are those in use, in a transaction or not; of the `hidden` ones nobody is shown what they do.
    """

    role: str
    database: str
    application: str
    address: str
    connections: int
    long_transactions: int = 0
    active: int = 0
    hidden: int = 0

    @property
    def name(self) -> str:
        """Whose they are, for people: the application's name, else the role's."""
        who = without_tag(self.application) or "without a name"
        return f"{who} ({self.role})" if self.role else who


def backends(row: Sequence[Any]) -> Backends:
    """A row of a server or pooler, which may say anything. Raises ValueError or TypeError."""
    role, database, application, address = (str(text)[:MOST_CHARACTERS] for text in row[:4])
    return Backends(
        role, database, application, address, *(max(0, min(int(count), _MOST)) for count in row[4:])
    )


@dataclass(frozen=True, slots=True)
class Own:
    """What tells the targets' connections from others': pods' addresses, else roles and names.

    `held` is what the targets may open, None before anybody has worked that out. `of_targets` are the
    addresses of the PoolBudget's own pods, without its neighbours'. `has_pooler`: connections may come from
    a pooler's address as well. `budgets` stand in the tags of pods that follow their shares: those are their
    own also after the pod is gone.
    """

    roles: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    running: int = 0
    held: int | None = None
    of_targets: frozenset[str] = frozenset()
    has_pooler: bool = False
    budgets: frozenset[str] = frozenset()

    def parted(self, rows: Iterable[Backends]) -> tuple[list[Backends], list[Backends], list[Backends]]:
        """Those that are the targets', those that look so but come from elsewhere, and the rest.

        Where pods are recognised by their addresses, somebody else with their role, or of their name, is
        told apart by where he comes from.
        """
        rows = list(rows)
        has_addresses = not self.has_pooler and any(row.address in self.addresses for row in rows)
        mine: list[Backends] = []
        doubtful: list[Backends] = []
        rest: list[Backends] = []
        for row in rows:
            tag = read_tag(row.application)
            is_ours = row.address in self.addresses or (tag is not None and tag.budget in self.budgets)
            is_alike = row.role in self.roles or without_tag(row.application) in self.names
            if row.application == PROBE:
                rest.append(row)
            elif is_ours or (is_alike and not (has_addresses and row.address)):
                mine.append(row)
            else:
                (doubtful if is_alike else rest).append(row)
        return mine, doubtful, rest


@dataclass(frozen=True, slots=True)
class Others:
    """Connections that are not the targets', and the largest of those who hold them.

    `is_exact` is False where the targets' own could not be recognised: then only what goes beyond what
    they may open is counted. `direct` are the targets' own that come from their pods' addresses, `doubtful`
    those that look like the targets' and come from elsewhere.
    """

    connections: int = 0
    in_database: int = 0
    of_role: int = 0
    largest: tuple[tuple[str, int], ...] = ()
    is_exact: bool = True
    long_transactions: int = 0
    direct: int = 0
    doubtful: int = 0

    def without_doubtful(self) -> Others:
        """Those for sure: a pod that has just started may not be known by its address yet."""
        return replace(
            self,
            connections=self.connections - self.doubtful,
            in_database=max(0, self.in_database - self.doubtful),
            of_role=max(0, self.of_role - self.doubtful),
        )


NOBODY = Others()


def others(backends: Iterable[Backends], own: Own, database: str, role: str | None) -> Others:
    """Those connections that are not the targets'.

    Where pods run and none of their connections can be recognised (a proxy, address translation, host
    networking), those of others are not known either: only what goes beyond that which the targets may open
    is theirs for sure. So is what goes beyond it among connections that look like the targets' own.
    """
    rows = list(backends)
    mine, doubtful, rest = own.parted(rows)
    rest += doubtful
    direct = sum(row.connections for row in rows if row.address and row.address in own.of_targets)
    connections = sum(row.connections for row in rest)
    is_exact = bool(mine) or bool(own.roles) or not own.running or not rest
    if not is_exact:
        beyond = 0 if own.held is None else max(0, connections - own.held)
        return Others(beyond, 0, 0, (), False, _long(rows), direct)
    beyond = 0 if own.held is None else max(0, sum(row.connections for row in mine) - own.held)
    return Others(
        connections + beyond,
        beyond + sum(row.connections for row in rest if row.database == database),
        beyond + sum(row.connections for row in rest if role is not None and row.role == role),
        _largest(rest),
        True,
        _long(rows),
        direct,
        sum(row.connections for row in doubtful),
    )


def _largest(rows: Iterable[Backends]) -> tuple[tuple[str, int], ...]:
    """Who holds the most, equal ones in the order of their names: it must not change by itself."""
    counts = Counter[str]()
    for row in rows:
        if row.application != PROBE:
            counts[row.name] += row.connections
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_LARGEST])


def _long(rows: Iterable[Backends]) -> int:
    return sum(row.long_transactions for row in rows)


def peak(samples: Iterable[Others]) -> Others:
    """The most of each that was seen: a short lull must not hand out what is needed again.

    What looks like the targets' own has to be seen twice in a row.
    """
    seen = list(samples)
    if not seen:
        return NOBODY
    before = [NOBODY, *seen]
    seen = [now if last.doubtful else now.without_doubtful() for last, now in zip(before, seen, strict=False)]
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
