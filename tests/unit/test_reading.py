"""Whose word counts for the capacity."""

from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.limits import ServerLimits
from poolbudget.capacity.reading import KnownCapacity, Reading, known_capacity
from poolbudget.resource.conditions import Reason
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.status import CapacityStatus

PROBE = {"urlSecretKeyRef": {"name": "s"}}


def spec(host: str = "db", **capacity: object) -> PoolBudgetSpec:
    return PoolBudgetSpec.model_validate(
        {"endpoint": {"host": host}, "capacity": capacity, "targets": [{"name": "api"}]}
    )


PROBED = spec(probe=PROBE, maxConnections=100)
LAST = CapacityStatus(
    max_connections=170, server_reserved=5, source="Probe", endpoint="db:5432", observed_time="then"
)
FAILED = Reading(failure=ProbeFailure(Reason.TIMED_OUT, "no answer"))


def known(given: PoolBudgetSpec, reading: Reading, last: CapacityStatus | None = None) -> KnownCapacity:
    found = known_capacity(given, reading, last, "now")
    assert found is not None
    return found


def test_the_probe_is_asked_first() -> None:
    found = known(PROBED, Reading(ServerLimits(200)))
    assert (found.max_connections, found.server_reserved, found.source) == (200, 3, "Probe")


def test_until_it_has_answered_the_declared_figure_counts() -> None:
    found = known(PROBED, Reading())
    assert (found.max_connections, found.server_reserved, found.source) == (100, 3, "Declared")


def test_the_last_answer_survives_a_restart() -> None:
    found = known(PROBED, FAILED, LAST)
    assert (found.max_connections, found.server_reserved, found.observed_time) == (170, 5, "then")


def test_another_endpoint_is_another_server() -> None:
    found = known(spec("other", probe=PROBE, maxConnections=100), FAILED, LAST)
    assert (found.max_connections, found.source) == (100, "Declared")
    assert known_capacity(spec("other", probe=PROBE), FAILED, LAST, "now") is None


def test_without_a_probe_an_old_answer_no_longer_counts() -> None:
    found = known(spec(maxConnections=100), Reading(), LAST)
    assert (found.max_connections, found.source, found.observed_time) == (100, "Declared", "now")


def test_nobody_said_anything() -> None:
    assert known_capacity(spec(probe=PROBE), Reading(), None, "now") is None


def test_the_time_moves_only_with_the_figures() -> None:
    same = known(PROBED, Reading(ServerLimits(170, superuser_reserved=5)), LAST)
    other = known(PROBED, Reading(ServerLimits(171, superuser_reserved=5)), LAST)
    assert (same.observed_time, other.observed_time) == ("then", "now")


def test_trouble_has_one_beginning() -> None:
    """It outlives restarts and other troubles, and ends with an answer."""
    stale = LAST.model_copy(update={"stale_since": "earlier"})
    assert known(PROBED, FAILED, LAST).stale_since == "now"
    assert known(PROBED, FAILED, stale).stale_since == "earlier"
    assert known(PROBED, Reading(), stale).stale_since == "earlier"
    assert known(PROBED, Reading(ServerLimits(170)), stale).stale_since is None
    assert known(PROBED, FAILED, LAST).to_status()["staleSince"] == "now"
