"""Whose word counts for the capacity."""

from poolbudget.capacity.limits import ServerLimits
from poolbudget.capacity.reading import Reading, known_capacity
from poolbudget.resource.spec import Capacity
from poolbudget.resource.status import CapacityStatus

PROBED = Capacity.model_validate({"probe": {"urlSecretKeyRef": {"name": "s"}}, "maxConnections": 100})
DECLARED = Capacity.model_validate({"maxConnections": 100})
ONLY_PROBE = Capacity.model_validate({"probe": {"urlSecretKeyRef": {"name": "s"}}})
LAST = CapacityStatus(max_connections=170, server_reserved=5, source="Probe", observed_time="then")


def test_the_probe_is_asked_first() -> None:
    known = known_capacity(PROBED, Reading(ServerLimits(200)), None, "now")
    assert known is not None
    assert (known.max_connections, known.server_reserved, known.source) == (200, 3, "Probe")


def test_until_it_has_answered_the_declared_figure_counts() -> None:
    known = known_capacity(PROBED, Reading(), None, "now")
    assert known is not None
    assert (known.max_connections, known.server_reserved, known.source) == (100, 3, "Declared")


def test_the_last_answer_survives_a_restart() -> None:
    known = known_capacity(PROBED, Reading(), LAST, "now")
    assert known is not None
    assert (known.max_connections, known.server_reserved, known.observed_time) == (170, 5, "then")


def test_without_a_probe_an_old_answer_no_longer_counts() -> None:
    known = known_capacity(DECLARED, Reading(), LAST, "now")
    assert known is not None
    assert (known.max_connections, known.source, known.observed_time) == (100, "Declared", "now")


def test_nobody_said_anything() -> None:
    assert known_capacity(ONLY_PROBE, Reading(), None, "now") is None


def test_the_time_moves_only_with_the_figures() -> None:
    same = known_capacity(PROBED, Reading(ServerLimits(170, superuser_reserved=5)), LAST, "now")
    other = known_capacity(PROBED, Reading(ServerLimits(171, superuser_reserved=5)), LAST, "now")
    assert same is not None
    assert other is not None
    assert (same.observed_time, other.observed_time) == ("then", "now")
