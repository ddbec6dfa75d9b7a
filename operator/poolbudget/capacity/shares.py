"""Several PoolBudgets on one server: what is left of it for one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolbudget.capacity.limits import Usable


@dataclass(frozen=True, slots=True)
class Holder:
    """Another PoolBudget on the server: its percent, and the connections that its pods may open."""

    share: int
    held: int


def shared(usable: Usable, share: int, holders: Sequence[Holder]) -> Usable:
    """One PoolBudget's part of a server, less what others hold beyond theirs; never below 0.

    Shares of more than 100 % together count in proportion. What another one does not use is not
    handed out: it may ask for it at any moment.
    """
    total = max(100, share + sum(holder.share for holder in holders))
    part = usable.connections * share // total
    beyond = sum(max(0, holder.held - usable.connections * holder.share // total) for holder in holders)
    words = f"{usable.arithmetic}; of these {share} %"
    if total > 100:
        words = f"{words} of {total} %"
    words = f"{words}: {part}"
    if beyond:
        words = f"{words} - {beyond} that other PoolBudgets hold beyond theirs = {max(0, part - beyond)}"
    return Usable(max(0, part - beyond), words, usable.warning)
