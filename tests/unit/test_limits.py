"""From a server's figures to usable."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolbudget.capacity.consumers import NOBODY, Others
from poolbudget.capacity.limits import ServerLimits, usable_connections
from poolbudget.capacity.pooler import PoolerLimits, keeps_prepared, pooler_limits
from poolbudget.capacity.shares import Holder, Share, part_of
from poolbudget.resource.capacity import Consumer, Reserved
from poolbudget.resource.endpoint import Endpoint
from poolbudget.resource.model import MAX_CONNECTIONS


@pytest.mark.parametrize(
    ("capacity", "server", "reserved", "usable"),
    [
        (170, 3, Reserved(admin=10, replication=2), 155),
        (683, 3, Reserved(admin=10), 670),
        (100, 3, Reserved(admin=10), 87),
        (170, 3, Reserved(admin=10, percent=5), 148),  # 5 % of 170, rounded up: 9
        (10, 3, Reserved(admin=10), 0),
    ],
)
def test_usable(capacity: int, server: int, reserved: Reserved, usable: int) -> None:
    assert usable_connections(ServerLimits(capacity, server), reserved).connections == usable


def test_the_arithmetic_is_told() -> None:
    result = usable_connections(ServerLimits(170), Reserved(admin=10, replication=2))
    assert result.arithmetic == "170 - 3 of the server - 10 for administrators - 2 for replication = 155"


def test_little_reserve_gets_a_warning() -> None:
    assert usable_connections(ServerLimits(170), Reserved(admin=19)).warning is None
    warning = usable_connections(ServerLimits(170), Reserved(admin=10)).warning
    assert warning is not None
    assert "10 plus 5 % (19) is advised" in warning


def test_all_reserves_of_the_server_count() -> None:
    assert ServerLimits(100, superuser_reserved=3, reserved=5, provider_reserved=2).server_reserved == 10


def test_the_tightest_limit_counts() -> None:
    limits = ServerLimits(500, role_limit=60, database_limit=100)
    result = usable_connections(limits, Reserved(admin=10))
    assert result.arithmetic == "60 by the role's limit = 60"
    only_database = usable_connections(ServerLimits(500, database_limit=100), Reserved(admin=10))
    assert only_database.arithmetic == "100 by the database's limit - 10 for administrators = 90"


def test_others_count_where_they_are_more_than_what_is_reserved() -> None:
    reserved = Reserved(admin=10, replication=2)
    few, many = Others(connections=12), Others(connections=40)
    assert usable_connections(ServerLimits(170), reserved, few).connections == 155
    assert usable_connections(ServerLimits(170), reserved, many).arithmetic == (
        "170 - 3 of the server - 40 held by others = 127"
    )


def test_others_of_the_same_role_and_database_count_there() -> None:
    limits = ServerLimits(500, role_limit=60, database_limit=100)
    assert usable_connections(limits, Reserved(admin=10), Others(90, 50, 20)).connections == 40
    assert usable_connections(limits, Reserved(admin=10), Others(90, 70, 20)).connections == 30


def test_jobs_and_external_consumers_are_kept() -> None:
    jobs = [Consumer(name="migrate", parallelism=2, connections=5)]
    external = [Consumer(name="lambda", parallelism=50, connections=1)]
    result = usable_connections(ServerLimits(170), Reserved(admin=10, jobs=jobs, external=external))
    assert result.connections == 170 - 3 - 10 - 10 - 50
    assert "10 for jobs - 50 for others outside the cluster" in result.arithmetic


def limits_of(**pooler: Any) -> PoolerLimits:
    endpoint = Endpoint.model_validate({"host": "db", "pooler": {"type": "PgBouncer", **pooler}})
    found = pooler_limits(endpoint, None, None)
    assert found is not None
    return found


def test_behind_a_transaction_pooler_its_clients_count() -> None:
    pooler = limits_of(mode="Transaction", maxClientConnections=400, replicas=2)
    result = usable_connections(ServerLimits(170), Reserved(admin=10), NOBODY, pooler)
    assert result.arithmetic == "800 clients of the pooler - 10 for administrators = 790"


def test_in_session_mode_both_sides_and_the_server_count() -> None:
    """A client keeps its server connection for as long as it is connected."""
    pooler = limits_of(mode="Session", maxClientConnections=400, defaultPoolSize=50)
    assert usable_connections(ServerLimits(170), Reserved(), NOBODY, pooler).connections == 50
    pooler = limits_of(mode="Session", maxClientConnections=400, defaultPoolSize=300)
    assert usable_connections(ServerLimits(170), Reserved(), NOBODY, pooler).connections == 157
    # All users together may open 300, and one of them 20.
    pooler = limits_of(mode="Session", maxClientConnections=400, maxDbConnections=300)
    assert usable_connections(ServerLimits(170), Reserved(), NOBODY, pooler).connections == 20
    assert pooler.servers == 300


def test_other_clients_of_the_pooler_count() -> None:
    pooler = replace(limits_of(mode="Transaction", maxClientConnections=400), other_clients=300)
    assert usable_connections(ServerLimits(170), Reserved(), NOBODY, pooler).connections == 100


def test_absurd_figures_of_poolers_stay_within_what_any_server_has() -> None:
    pooler = limits_of(mode="Transaction", maxClientConnections=200_000, replicas=1000)
    assert pooler.clients == MAX_CONNECTIONS


def test_a_pooler_alone_is_enough_in_transaction_mode() -> None:
    pooler = limits_of(mode="Transaction")
    assert usable_connections(None, Reserved(admin=10), NOBODY, pooler).connections == 90


def test_a_proxy_without_a_limit_leaves_the_servers_figure() -> None:
    """RDS Proxy: clients need not fit max_connections, so this is stricter than the proxy."""
    endpoint = Endpoint.model_validate({"host": "db", "pooler": {"type": "RDSProxy"}})
    pooler = pooler_limits(endpoint, None, None)
    assert usable_connections(ServerLimits(170), Reserved(), NOBODY, pooler).connections == 157


@pytest.mark.parametrize(
    ("version", "maximum", "mode", "keeps"),
    [
        ("1.18.0", None, "session", True),
        ("1.18.0", None, "transaction", False),
        ("1.20.1", 100, "transaction", False),
        ("1.21", None, "transaction", False),
        ("1.21", 100, "transaction", True),
        ("1.24.1", None, "transaction", True),
        ("1.24.1", 0, "transaction", False),
        (None, 100, "transaction", False),
    ],
)
def test_where_prepared_statements_work(
    version: str | None, maximum: int | None, mode: str, keeps: bool
) -> None:
    assert keeps_prepared(version, maximum, mode) is keeps


limits = st.builds(
    ServerLimits,
    st.integers(0, 500),
    st.integers(0, 20),
    role_limit=st.none() | st.integers(0, 500),
    database_limit=st.none() | st.integers(0, 500),
)


@given(limits, limits)
def test_the_lower_of_two_allows_no_more_than_either(one: ServerLimits, other: ServerLimits) -> None:
    lower = one.lower_of(other)
    assert not lower.allows_more_than(one)
    assert not lower.allows_more_than(other)


neighbours = st.lists(st.tuples(st.integers(1, 100), st.integers(0, 1000)))


@given(st.integers(0, 1000), st.integers(1, 100), neighbours)
def test_parts_of_a_server_never_come_to_more_than_it(
    usable: int, share: int, others: list[tuple[int, int]]
) -> None:
    """What is left for one, what others hold, and what others may still hold of theirs."""
    mine, _ = part_of(usable, share, [Holder(other, held) for other, held in others])
    total = max(100, share + sum(other for other, _ in others))
    theirs = sum(max(held, usable * other // total) for other, held in others)
    assert mine == 0 or mine + theirs <= usable


def test_a_share_is_told() -> None:
    assert part_of(150, 60, [Holder(40, 70)]) == (
        80,
        "; of these 60 %: 90 - 10 that other PoolBudgets hold beyond theirs = 80",
    )
    assert part_of(150, 60, [Holder(60, 0)]) == (75, "; of these 60 % of 120 %: 75")
    shared = usable_connections(ServerLimits(200), Reserved(), share=Share(50, (Holder(50, 90),)))
    assert shared.arithmetic == "200 - 3 of the server - 10 for administrators = 187; of these 50 %: 93"


def test_a_share_is_of_what_is_common() -> None:
    """A role's limit is nobody else's: the neighbour's 90 are within its half of the server."""
    share = Share(50, (Holder(50, 90),))
    limited = ServerLimits(200, role_limit=40)
    assert usable_connections(limited, Reserved(), NOBODY, None, share).connections == 40


def test_clients_of_a_pooler_are_shared_with_those_at_the_same_one() -> None:
    pooler = limits_of(mode="Transaction", maxClientConnections=505)
    elsewhere = Share(50, (Holder(50, 90),))
    assert usable_connections(ServerLimits(200), Reserved(), NOBODY, pooler, elsewhere).connections == 495
    together = Share(50, (Holder(50, 90),), (Holder(50, 200),))
    assert usable_connections(ServerLimits(200), Reserved(), NOBODY, pooler, together).connections == 247
