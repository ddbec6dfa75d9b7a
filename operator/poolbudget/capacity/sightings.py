"""What pods say of themselves in the database's list of connections."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from poolbudget.capacity.consumers import Backends
from poolbudget.tag import Tag, read_tag


@dataclass(frozen=True, slots=True)
class Tagged:
    """Connections that carry the same tag and come from the same address ("" where it is not shown).

    `active` of them are in use; of the `hidden` ones nobody knows.
    """

    tag: Tag
    address: str
    connections: int
    active: int = 0
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """All tagged connections at one moment; `time` is just before anybody was asked (seconds since 1970)."""

    time: float
    tagged: tuple[Tagged, ...] = ()

    @property
    def essence(self) -> frozenset[Tag]:
        """What matters of it: who says what. Mere counts change all the time."""
        return frozenset(item.tag for item in self.tagged)


def tagged(rows: Iterable[Backends]) -> tuple[Tagged, ...]:
    """The connections among a server's or a pooler's that carry a tag."""
    found = ((read_tag(row.application), row) for row in rows)
    return tuple(
        Tagged(tag, row.address, row.connections, row.active, row.hidden)
        for tag, row in found
        if tag is not None
    )
