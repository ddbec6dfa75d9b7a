"""Estimates against the documented points, and what the tables do not know."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolbudget.capacity.estimate import Estimate, NoEstimate, estimate
from poolbudget.capacity.pooler import pooler_limits
from poolbudget.resource.capacity import Estimate as Size
from poolbudget.resource.endpoint import Endpoint, Provider


def expected(provider: str, **size: Any) -> int:
    return full(provider, **size).connections


def full(provider: str, **size: Any) -> Estimate:
    return estimate(Endpoint(host="db", provider=Provider(provider)), Size.model_validate(size))


@pytest.mark.parametrize(
    ("provider", "size", "connections"),
    [
        # Servers of RDS that people looked at.
        ("RDS", {"class": "db.t3.small"}, 198),
        ("RDS", {"class": "db.t3.medium"}, 413),
        ("RDS", {"class": "db.m6g.large"}, 856),
        ("RDS", {"class": "db.r4.large"}, 1660),
        ("RDS", {"class": "db.r6g.24xlarge"}, 5000),
        # Aurora's documented table.
        ("Aurora", {"class": "db.t3.medium"}, 420),
        ("Aurora", {"class": "db.t4g.medium"}, 405),
        ("Aurora", {"class": "db.t3.large"}, 844),
        ("Aurora", {"class": "db.t4g.large"}, 844),
        ("Aurora", {"class": "db.r5.large"}, 1600),
        ("Aurora", {"class": "db.r6g.large"}, 1722),
        ("Aurora", {"class": "db.r5.xlarge"}, 3300),
        ("Aurora", {"class": "db.r6g.xlarge"}, 3479),
        ("Aurora", {"class": "db.r6g.2xlarge"}, 5000),
        ("Aurora", {"memory": "64Gi"}, 5000),
        # Aurora Serverless v2, by the maximum.
        ("AuroraServerlessV2", {"acu": {"min": "1", "max": "1"}}, 189),
        ("AuroraServerlessV2", {"acu": {"min": "1", "max": "4"}}, 823),
        ("AuroraServerlessV2", {"acu": {"min": "1", "max": "8"}}, 1669),
        ("AuroraServerlessV2", {"acu": {"min": "1", "max": "16"}}, 3360),
        ("AuroraServerlessV2", {"acu": {"min": "1", "max": "32"}}, 5000),
        ("AuroraServerlessV2", {"acu": {"min": "2", "max": "128"}}, 5000),
        ("AuroraServerlessV2", {"acu": {"min": "0.5", "max": "16"}}, 2000),
        ("AuroraServerlessV2", {"acu": {"min": "0", "max": "4"}}, 823),
        # Cloud SQL, steps by memory.
        ("CloudSQL", {"class": "db-f1-micro"}, 25),
        ("CloudSQL", {"class": "db-g1-small"}, 50),
        ("CloudSQL", {"class": "db-custom-1-3840"}, 100),
        ("CloudSQL", {"memory": "6Gi"}, 200),
        ("CloudSQL", {"class": "db-custom-2-7680"}, 400),
        ("CloudSQL", {"memory": "15Gi"}, 500),
        ("CloudSQL", {"memory": "30Gi"}, 600),
        ("CloudSQL", {"memory": "60Gi"}, 800),
        ("CloudSQL", {"memory": "120Gi"}, 1000),
        ("AlloyDB", {"memory": "16Gi"}, 1000),
        # Azure's documented table.
        ("Azure", {"class": "Standard_B1ms"}, 50),
        ("Azure", {"class": "Standard_B2s"}, 429),
        ("Azure", {"class": "B1ms"}, 50),
        ("Azure", {"class": "Standard_D2ds_v5"}, 859),
        ("Azure", {"class": "Standard_D4s_v3"}, 1718),
        ("Azure", {"class": "Standard_E4ds_v5"}, 3437),
        ("Azure", {"memory": "48Gi"}, 5000),
        # Neon and Supabase.
        ("Neon", {"class": "0.25"}, 104),
        ("Neon", {"class": "1"}, 419),
        ("Neon", {"class": "2 CU"}, 839),
        ("Neon", {"class": "4"}, 1678),
        ("Neon", {"class": "8"}, 3357),
        ("Neon", {"class": "16"}, 4000),
        ("Supabase", {"class": "Nano"}, 60),
        ("Supabase", {"class": "Small"}, 90),
        ("Supabase", {"class": "Medium"}, 120),
        ("Supabase", {"class": "Large"}, 160),
        ("Supabase", {"class": "XL"}, 240),
        ("Supabase", {"class": "2XL"}, 380),
        ("Supabase", {"class": "4XL"}, 480),
        ("Supabase", {"class": "8XL"}, 490),
        ("Supabase", {"class": "16XL"}, 500),
    ],
)
def test_documented_points(provider: str, size: dict[str, Any], connections: int) -> None:
    assert expected(provider, **size) == connections


def test_an_estimate_counts_at_its_lowest() -> None:
    """A server of 2 GiB was reported with 181, where the formula alone says 225."""
    found = full("RDS", **{"class": "db.t3.small"})
    assert found.lowest == 178
    assert "LEAST(DBInstanceClassMemory/9531392, 5000)" in str(found)
    assert "less 10 % of uncertainty" in str(found)


def test_a_providers_pooler_has_limits_of_its_own() -> None:
    """And the estimate stays the database's."""
    neon = {"host": "db", "provider": "Neon", "pooler": {"type": "PgBouncer", "mode": "Transaction"}}
    found = pooler_limits(Endpoint.model_validate(neon), None, "1")
    assert found is not None
    assert (found.clients, full("Neon", **{"class": "1"}).connections) == (10_000, 419)
    supabase = {"host": "db", "provider": "Supabase", "pooler": {"type": "Supavisor"}}
    found = pooler_limits(Endpoint.model_validate(supabase), None, "Small")
    assert found is not None
    assert (found.clients, found.holds_session) == (400, False)


@pytest.mark.parametrize(
    ("provider", "size", "words"),
    [
        ("SelfManaged", {"class": "any"}, "needs endpoint.provider"),
        ("RDS", {"class": "db.q9.huge"}, "class db.q9.huge is not known"),
        ("RDS", {"acu": {"min": "1", "max": "2"}}, "needs class or memory"),
        ("AuroraServerlessV2", {"class": "db.t3.medium"}, "needs estimate.acu"),
        ("AuroraServerlessV2", {"acu": {"min": "0", "max": "0.5"}}, "at least 1 capacity unit"),
        ("CloudSQL", {"class": "db-n1"}, "machine type db-n1 is not known"),
        ("CloudSQL", {"memory": "256Mi"}, "below the smallest size"),
        ("Azure", {"class": "Standard_X"}, "compute size Standard_X is not known"),
        ("Neon", {"class": "large"}, "compute units"),
        ("Neon", {"class": "nan"}, "compute units"),
        ("RDS", {"memory": "0Gi"}, "check the size"),
        ("Azure", {"class": "Standard_D0"}, "check the size"),
        ("Supabase", {"class": "Tiny"}, "one of nano, micro"),
    ],
)
def test_what_the_tables_do_not_know_is_said(provider: str, size: dict[str, Any], words: str) -> None:
    with pytest.raises(NoEstimate, match=words):
        expected(provider, **size)


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_more_memory_is_never_fewer_connections(one: int, other: int) -> None:
    less, more = sorted((one, other))
    for provider in ("RDS", "Azure"):
        assert expected(provider, memory=f"{less}Gi") <= expected(provider, memory=f"{more}Gi")


@pytest.mark.parametrize("provider", ["RDS", "Aurora", "CloudSQL", "AlloyDB", "Azure"])
def test_every_estimate_names_its_source_and_date(provider: str) -> None:
    found = full(provider, memory="16Gi")
    assert "2026" in found.source
    assert 0 < found.reserved < found.lowest <= found.connections
