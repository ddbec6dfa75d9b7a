"""Whose word counts for the capacity."""

from dataclasses import replace

from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.limits import ServerLimits
from poolbudget.capacity.pooler import AdminFigures
from poolbudget.capacity.reading import (
    KnownCapacity,
    Reading,
    confirmed,
    confirmed_admin,
    known_capacity,
    with_host,
)
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
    connections=170,
    max_connections=170,
    server_reserved=5,
    source="Probe",
    endpoint="db:5432",
    observed_time="then",
)
FAILED = Reading(failure=ProbeFailure(Reason.TIMED_OUT, "no answer"))


def known(given: PoolBudgetSpec, reading: Reading, last: CapacityStatus | None = None) -> KnownCapacity:
    found = known_capacity(given, reading, last, "now")
    assert found is not None
    return found


def server(found: KnownCapacity) -> tuple[int, int]:
    assert found.limits is not None
    return found.limits.max_connections, found.limits.server_reserved


def test_the_probe_is_asked_first() -> None:
    found = known(PROBED, Reading(ServerLimits(200)))
    assert (server(found), found.source) == ((200, 3), "Probe")


def test_until_it_has_answered_the_declared_figure_counts() -> None:
    found = known(PROBED, Reading())
    assert (server(found), found.source) == ((100, 3), "Declared")


def test_the_last_answer_survives_a_restart() -> None:
    found = known(PROBED, FAILED, LAST)
    assert (server(found), found.observed_time) == ((170, 5), "then")


def test_another_endpoint_is_another_server() -> None:
    found = known(spec("other", probe=PROBE, maxConnections=100), FAILED, LAST)
    assert (found.connections, found.source) == (100, "Declared")
    assert known_capacity(spec("other", probe=PROBE), FAILED, LAST, "now") is None


def test_without_a_probe_an_old_answer_no_longer_counts() -> None:
    found = known(spec(maxConnections=100), Reading(), LAST)
    assert (found.connections, found.source, found.observed_time) == (100, "Declared", "now")


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


def test_less_counts_at_once_and_more_only_when_seen_twice() -> None:
    known_before = Reading(ServerLimits(170))
    assert confirmed(known_before, ServerLimits(100), None).limits == ServerLimits(100)
    once = confirmed(known_before, ServerLimits(300), None)
    assert once.limits == ServerLimits(170)
    assert confirmed(once, ServerLimits(300), None).limits == ServerLimits(300)
    # Two looks that disagree are none.
    assert confirmed(once, ServerLimits(290), None).limits == ServerLimits(170)


def test_after_a_restart_of_the_operator_the_status_is_what_was_known() -> None:
    first = confirmed(Reading(), ServerLimits(300), ServerLimits(170))
    assert first.limits is not None
    assert first.limits.max_connections == 170
    assert confirmed(Reading(), ServerLimits(300), None).limits == ServerLimits(300)


def test_an_outage_between_two_looks_makes_them_two_first_ones() -> None:
    once = confirmed(Reading(ServerLimits(170)), ServerLimits(300), None)
    after = replace(once, failure=FAILED.failure, awaited=None)
    assert confirmed(after, ServerLimits(300), None).limits == ServerLimits(170)


def test_the_estimate_is_the_last_word() -> None:
    sized = {"class": "db.t3.medium"}
    aurora = {"host": "db", "provider": "Aurora"}
    given = PoolBudgetSpec.model_validate(
        {"endpoint": aurora, "capacity": {"estimate": sized}, "targets": [{"name": "api"}]}
    )
    found = known(given, Reading())
    assert (found.connections, found.source) == (420, "Estimate")
    assert found.to_status()["estimate"] == {
        "connections": 420,
        "uncertaintyPercent": 0,
        "rule": 'the table of classes (db.t3.medium) (AWS, Amazon Aurora User Guide, "Maximum connections '
        'to an Aurora PostgreSQL DB instance", 2026-11-26)',
    }


def test_the_status_says_what_the_endpoint_accepts() -> None:
    found = known(PROBED, Reading(ServerLimits(170, role_limit=60)))
    status = CapacityStatus.model_validate(found.to_status())
    assert (status.connections, status.max_connections, status.role_limit) == (60, 170, 60)


CONSOLE = AdminFigures("1.24.1", 400, 20, 0, 600, 200, "transaction")


def test_what_the_console_says_counts_when_said_twice_or_less_than_before() -> None:
    once = confirmed_admin(Reading(), CONSOLE)
    assert (once.admin, once.awaited_admin) == (None, CONSOLE)
    twice = confirmed_admin(once, CONSOLE)
    assert (twice.admin, twice.awaited_admin) == (CONSOLE, None)
    assert confirmed_admin(twice, replace(CONSOLE, max_client_conn=300)).admin == replace(
        CONSOLE, max_client_conn=300
    )
    more = confirmed_admin(twice, replace(CONSOLE, max_client_conn=900))
    assert more.admin == CONSOLE
    # One figure fell and another rose: less counts at once.
    both = confirmed_admin(twice, replace(CONSOLE, max_client_conn=900, default_pool_size=5))
    assert both.admin == replace(CONSOLE, default_pool_size=5)
    # 0 is no limit: more than any.
    limited = replace(twice, admin=replace(CONSOLE, max_db_connections=50))
    assert confirmed_admin(limited, CONSOLE).awaited_admin == CONSOLE
    assert confirmed_admin(twice, None).admin == CONSOLE


def behind_pooler(mode: str = "Transaction", **pooler: object) -> PoolBudgetSpec:
    endpoint = {
        "host": "db",
        "pooler": {
            "type": "PgBouncer",
            "mode": mode,
            "adminUrlSecretKeyRef": {"name": "s"},
            **pooler,
        },
    }
    return PoolBudgetSpec.model_validate(
        {"endpoint": endpoint, "capacity": {"probe": PROBE}, "targets": [{"name": "api"}]}
    )


def test_the_consoles_last_word_survives_a_restart() -> None:
    """What is declared is more, and the console does not answer yet."""
    given = behind_pooler(maxClientConnections=2000)
    before = known(given, Reading(ServerLimits(170), admin=CONSOLE))
    assert (before.connections, before.pooler and before.pooler.keeps_prepared) == (400, True)
    status = CapacityStatus.model_validate(before.to_status())
    after = known(given, FAILED, status)
    assert after.pooler == before.pooler
    assert after.connections == 400
    assert after.observed_time == before.observed_time


def test_a_session_pooler_alone_says_too_little() -> None:
    """How many the server behind it allows is the question."""
    assert known_capacity(behind_pooler("Session", defaultPoolSize=500), FAILED, None, "now") is None
    assert known_capacity(behind_pooler("Transaction"), FAILED, None, "now") is not None


def test_where_the_url_leads_has_to_be_seen_twice() -> None:
    """And a name that once was the same host stays it: it may stand for several addresses."""
    once = with_host(Reading(), "replica-7")
    assert once.other_host is None
    twice = with_host(once, "replica-7")
    assert twice.other_host == "replica-7"
    assert with_host(twice, None).other_host is None
    right = with_host(Reading(), None)
    assert with_host(with_host(right, "replica-7"), "replica-7").other_host is None


def test_the_consoles_default_is_not_the_pools_mode() -> None:
    """Databases and users have modes of their own; before there are any, what is declared counts."""
    unknown = replace(CONSOLE, version="1.18.0", pool_mode="")
    found = known(behind_pooler("Transaction"), Reading(ServerLimits(170), admin=unknown)).pooler
    assert found is not None
    assert (found.holds_session, found.keeps_prepared) == (False, False)
    session = replace(unknown, pool_mode="session")
    found = known(behind_pooler("Transaction"), Reading(ServerLimits(170), admin=session)).pooler
    assert found is not None
    assert (found.holds_session, found.keeps_prepared) == (True, True)


def test_a_long_timeout_of_the_pooler_is_read_back() -> None:
    week = replace(CONSOLE, server_idle_timeout=604_800)
    before = known(behind_pooler(), Reading(ServerLimits(170), admin=week))
    status = CapacityStatus.model_validate(before.to_status())
    assert known(behind_pooler(), FAILED, status).pooler == before.pooler
