"""Whose connections are whose."""

from poolbudget.capacity.consumers import NOBODY, Backends, Others, Own, others, peak

API = Backends("app", "orders", "api-1", "10.0.0.1", 20)
REPORTS = Backends("reports", "orders", "metabase", "10.9.9.9", 12)
MIGRATION = Backends("app", "orders", "alembic", "10.9.9.8", 3)
BACKUP = Backends("backup", "postgres", "", "10.9.9.7", 2)
ALL = (API, REPORTS, MIGRATION, BACKUP)


def test_pods_are_known_by_their_addresses() -> None:
    found = others(ALL, Own(addresses=frozenset({"10.0.0.1"}), running=1), "orders", "app", 50)
    assert (found.connections, found.in_database, found.of_role) == (17, 15, 3)
    assert found.largest == (("metabase (reports)", 12), ("alembic (app)", 3), ("without a name (backup)", 2))


def test_or_by_the_role_that_is_theirs() -> None:
    found = others(ALL, Own(roles=frozenset({"app"}), running=1), "orders", "app", 50)
    assert (found.connections, found.of_role) == (14, 0)


def test_or_by_the_name_that_they_give() -> None:
    assert others(ALL, Own(names=frozenset({"api-1"}), running=1), "orders", None, 50).connections == 17


def test_pods_that_cannot_be_recognised_are_not_counted_twice() -> None:
    """Behind a proxy all addresses are the proxy's: only what goes beyond the pods' own is others'."""
    proxied = (Backends("app", "orders", "", "10.5.5.5", 60),)
    found = others(proxied, Own(addresses=frozenset({"10.0.0.1"}), running=3), "orders", None, 50)
    assert (found.connections, found.is_exact) == (10, False)
    assert others(proxied, Own(running=3), "orders", None, 90).connections == 0


def test_without_pods_everybody_is_another() -> None:
    assert others(ALL, Own(), "orders", None, 0).connections == 37


def test_the_most_of_the_last_minutes_counts() -> None:
    """A pool of others that shrinks for a moment must find its connections again."""
    seen = [Others(3), Others(40, 30, 2, (("metabase", 40),)), Others(5, 5, 4)]
    found = peak(seen)
    assert (found.connections, found.in_database, found.of_role) == (40, 30, 4)
    assert found.largest == (("metabase", 40),)
    assert peak([]) == NOBODY
