"""Whose connections are whose."""

from poolbudget.capacity.consumers import NOBODY, Backends, Others, Own, others, peak

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
    assert found.direct == 20


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
    assert (found.connections, found.of_role) == (80, 80)


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
