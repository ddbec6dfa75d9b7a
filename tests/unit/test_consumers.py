"""Whose connections are whose."""

import pytest

from poolbudget.capacity.consumers import NOBODY, PROBE, Backends, Others, Own, backends, others, peak

API = Backends("app", "orders", "api-1", "10.0.0.1", 20)
REPORTS = Backends("reports", "orders", "metabase", "10.9.9.9", 12)
MIGRATION = Backends("app", "orders", "alembic", "10.9.9.8", 3)
BACKUP = Backends("backup", "postgres", "", "10.9.9.7", 2)
ALL = (API, REPORTS, MIGRATION, BACKUP)


def own(held: int | None = 50, running: int = 1, **parts: set[str]) -> Own:
    return Own(**{name: frozenset(part) for name, part in parts.items()}, running=running, held=held)


def test_pods_are_known_by_their_addresses() -> None:
    found = others(ALL, own(addresses={"10.0.0.1"}), "orders", "app")
    assert (found.connections, found.in_database, found.of_role) == (17, 15, 3)
    assert found.largest == (("metabase (reports)", 12), ("alembic (app)", 3), ("without a name (backup)", 2))
    assert others(ALL, own(addresses={"10.0.0.1"}, of_targets={"10.0.0.1"}), "orders", "app").direct == 20
    assert found.direct == 0


def test_or_by_the_role_that_is_theirs() -> None:
    found = others(ALL, own(roles={"app"}), "orders", "app")
    assert (found.connections, found.of_role) == (14, 0)


def test_or_by_the_name_that_they_give() -> None:
    assert others(ALL, own(names={"api-1"}), "orders", None).connections == 17


def test_somebody_else_with_their_role_comes_from_elsewhere() -> None:
    """A migration of 80 connections is none of the targets', whatever its role and name."""
    migration = Backends("app", "orders", "api", "10.9.9.9", 80)
    found = others(
        (API, migration), own(addresses={"10.0.0.1"}, roles={"app"}, names={"api"}), "orders", "app"
    )
    assert (found.connections, found.of_role, found.doubtful) == (80, 80, 80)
    # A pod that has just started may not be known by its address yet: it has to be seen twice.
    assert peak([found]).connections == 0
    assert peak([found, found]).connections == 80


def test_behind_a_pooler_connections_come_from_its_address_as_well() -> None:
    """One pod still connects directly: the pooler's connections are the targets' all the same."""
    pooled = Backends("app", "orders", "", "10.7.7.7", 60)
    mine = Own(frozenset({"app"}), frozenset({"10.0.0.1"}), running=2, held=100, has_pooler=True)
    assert others((API, pooled), mine, "orders", "app").connections == 0


def test_the_probes_own_connection_is_nobody_elses() -> None:
    """Even where it logs in as the application."""
    rows = (API, Backends("app", "orders", PROBE, "10.0.0.1", 1))
    found = others(rows, own(addresses={"10.0.0.1"}, roles={"app"}), "orders", "app")
    assert (found.connections, found.of_role, found.largest) == (1, 1, ())


def test_who_holds_as_much_is_told_in_the_order_of_names() -> None:
    rows = [Backends(name, "x", name, "", 5) for name in "edcba"]
    assert [name for name, _ in others(rows, Own(), "x", None).largest] == ["a (a)", "b (b)", "c (c)"]


def test_many_rows_are_no_burden() -> None:
    rows = [Backends("r", "d", f"a{number}", f"10.0.{number}", 1) for number in range(20_000)]
    assert others(rows, own(addresses={"10.0.5"}), "d", None).connections == 19_999


def test_what_a_server_says_is_cut_to_size() -> None:
    found = backends(("r" * 1000, None, 7, "", 10**12, -3, 2))
    assert (len(found.role), found.database, found.application) == (63, "None", "7")
    assert (found.connections, found.long_transactions, found.active) == (262_143, 0, 2)
    with pytest.raises((TypeError, ValueError)):
        backends(("r", "d", "a", "x", "many"))


def test_what_goes_beyond_that_which_the_targets_may_open_is_others() -> None:
    """Where addresses say nothing, more than all pods may open cannot be theirs alone."""
    proxied = (Backends("app", "orders", "", "10.5.5.5", 90),)
    found = others(proxied, own(50, roles={"app"}), "orders", "app")
    assert (found.connections, found.in_database, found.of_role) == (40, 40, 40)
    assert others(proxied, own(None, roles={"app"}), "orders", "app").connections == 0


def test_pods_that_cannot_be_recognised_are_not_counted_twice() -> None:
    """Behind a proxy all addresses are the proxy's: only what goes beyond the pods' own is others'."""
    proxied = (Backends("app", "orders", "", "10.5.5.5", 60),)
    found = others(proxied, own(50, 3, addresses={"10.0.0.1"}), "orders", None)
    assert (found.connections, found.is_exact) == (10, False)
    assert others(proxied, own(90, 3), "orders", None).connections == 0
    assert others(proxied, own(None, 3), "orders", None).connections == 0


def test_without_pods_everybody_is_another() -> None:
    assert others(ALL, Own(), "orders", None).connections == 37


def test_the_most_of_the_last_minutes_counts() -> None:
    """A pool of others that shrinks for a moment must find its connections again."""
    seen = [Others(3, long_transactions=1), Others(40, 30, 2, (("metabase", 40),)), Others(5, 5, 4)]
    found = peak(seen)
    assert (found.connections, found.in_database, found.of_role) == (40, 30, 4)
    assert (found.largest, found.long_transactions) == ((("metabase", 40),), 1)
    assert peak([]) == NOBODY
