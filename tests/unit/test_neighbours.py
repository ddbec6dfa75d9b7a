"""Other PoolBudgets on the same server, and of the same pods."""

from __future__ import annotations

from typing import Any

import pytest

from poolbudget.cluster import paths
from poolbudget.cluster.neighbours import (
    held_by,
    neighbours_among,
    read_siblings,
    share_of,
    with_shares,
)
from poolbudget.cluster.observed import Sibling, parse_spec
from poolbudget.commands.manifests import Manifests


def budget(name: str, endpoint: dict[str, Any], status: dict[str, Any] | None = None, **spec: Any) -> Any:
    return {
        "kind": "PoolBudget",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 2},
        "spec": {
            "endpoint": endpoint,
            "capacity": {"maxConnections": 200},
            "targets": [{"name": "api"}],
            **spec,
        },
        "status": {"observedGeneration": 2, **(status or {})},
    }


async def shares(mine: Any, *others: Any) -> Any:
    reader = Manifests({paths.budget("shop", item["metadata"]["name"]): item for item in (mine, *others)})
    found, _ = neighbours_among(mine, parse_spec(mine), [mine, *others])
    return share_of(50, await with_shares(reader, found))


@pytest.mark.parametrize(
    ("one", "other", "are_near"),
    [
        ({"host": "db"}, {"host": "DB.", "port": 5432}, True),
        ({"host": "db"}, {"host": "db", "port": 5433}, False),
        ({"host": "db", "server": "main"}, {"host": "pooler", "server": "main"}, True),
        # One that names the server, and one that does not.
        ({"host": "db", "server": "main"}, {"host": "db"}, True),
        # A loopback address is another server in each pod.
        ({"host": "127.0.0.1"}, {"host": "127.0.0.1"}, False),
        ({"host": "127.0.0.1", "server": "x"}, {"host": "localhost", "server": "x"}, True),
    ],
)
def test_who_is_near(one: dict[str, Any], other: dict[str, Any], are_near: bool) -> None:
    mine = budget("mine", one)
    neighbours, siblings = neighbours_among(mine, parse_spec(mine), [mine, budget("theirs", other)])
    assert (len(neighbours), len(siblings)) == ((1, 0) if are_near else (0, 1))


def test_until_a_changed_spec_was_seen_all_of_the_former_part_may_be_handed_out() -> None:
    told = {"allocated": 20, "usable": 90}
    assert held_by(budget("b", {"host": "db"}, told)) == 20
    assert held_by(budget("b", {"host": "db"}, {**told, "observedGeneration": 1})) == 90
    assert held_by(budget("b", {"host": "db"})) == 0


async def test_behind_a_pooler_its_own_connections_are_on_the_server() -> None:
    """400 clients are 40 connections there."""
    pooler = {"mode": "Transaction", "serverConnections": 40}
    status = {"allocated": 400, "capacity": {"pooler": pooler}}
    endpoint = {"host": "pooler", "server": "main", "share": 50}
    found = await shares(
        budget("mine", {"host": "db", "server": "main", "share": 50}), budget("theirs", endpoint, status)
    )
    assert [holder.held for holder in found.on_server] == [40]
    assert found.at_pooler == ()
    together = await shares(budget("mine", endpoint), budget("theirs", endpoint, status))
    assert [holder.held for holder in together.at_pooler] == [400]


async def test_siblings_by_their_status_or_what_they_declare() -> None:
    told = budget("told", {"host": "a"}, {"capacity": {"maxConnections": 90, "recovery": True}})
    declared = budget("declared", {"host": "orders.cluster-ro-abc.example"})
    broken = budget("broken", {"host": "b"}, targets="nonsense")
    items = (told, declared, broken)
    reader = Manifests({paths.budget("shop", item["metadata"]["name"]): item for item in items})
    found = await read_siblings(reader, "shop", ("told", "declared", "broken", "gone"))
    assert found == (Sibling("told", 90, True), Sibling("declared", 200, True))
