"""Several PoolBudgets on one server: what is left of it for one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Holder:
    """Another PoolBudget: its percent, and the connections that its pods may open."""

    share: int
    held: int


@dataclass(frozen=True, slots=True)
class Share:
    """One PoolBudget's percent of what it has in common with others.

    `on_server` are those on the same server, with what they hold there, `at_pooler` those that connect to
    the same pooler, with the clients that they hold.
    """

    percent: int
    on_server: tuple[Holder, ...] = ()
    at_pooler: tuple[Holder, ...] = ()


def part_of(connections: int, percent: int, holders: Sequence[Holder]) -> tuple[int, str]:
    """What is left of connections that several have in common, and how that came about; never below 0.

    Shares of more than 100 % together count in proportion. What another one does not use is not
    handed out: it may ask for it at any moment. What it holds beyond its own is taken off.
    """
    total = max(100, percent + sum(holder.share for holder in holders))
    part = connections * percent // total
    beyond = sum(max(0, holder.held - connections * holder.share // total) for holder in holders)
    words = f"; of these {percent} %"
    if total > 100:
        words = f"{words} of {total} %"
    words = f"{words}: {part}"
    if beyond:
        words = f"{words} - {beyond} that other PoolBudgets hold beyond theirs = {max(0, part - beyond)}"
    return max(0, part - beyond), words
