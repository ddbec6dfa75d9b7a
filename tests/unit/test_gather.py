"""What is read back from a status that somebody may have edited."""

from typing import Any

import pytest

from poolbudget.capacity.consumers import NOBODY, Others
from poolbudget.capacity.reading import Reading
from poolbudget.cluster.gather import _with_last_others, last_capacity
from poolbudget.resource.capacity import Capacity
from poolbudget.resource.spec import PoolBudgetSpec

GOOD = {
    "maxConnections": 170,
    "serverReserved": 3,
    "source": "Probe",
    "endpoint": "db:5432",
    "observedTime": "2026-01-01T00:00:00Z",
}


def test_a_good_capacity_is_read_back() -> None:
    found = last_capacity({"status": {"capacity": GOOD}})
    assert found is not None
    assert found.max_connections == 170


@pytest.mark.parametrize(
    "edited",
    [{"maxConnections": 9 * 10**18}, {"maxConnections": -1}, {"serverReserved": 10**12}, {"source": None}],
)
def test_one_that_makes_no_sense_is_unknown(edited: dict[str, Any]) -> None:
    """A maximum of 9e18 once kept the planner busy for ever."""
    assert last_capacity({"status": {"capacity": {**GOOD, **edited}}}) is None


def test_no_status_no_capacity() -> None:
    assert last_capacity({}) is None


SPEC = PoolBudgetSpec.model_validate(
    {
        "endpoint": {"host": "db"},
        "capacity": {"probe": {"urlSecretKeyRef": {"name": "s"}}},
        "targets": [{"name": "api"}],
    }
)


def test_others_count_on_until_somebody_has_looked() -> None:
    """A restart of the operator while the database is down must not hand out what others hold."""
    told = {"connections": 60, "inDatabase": 40, "ofRole": 5, "ofPooler": 7}
    manifest = {"status": {"capacity": GOOD, "others": told}}
    found = _with_last_others(Reading(), SPEC, manifest)
    assert (found.others, found.other_clients) == (Others(60, 40, 5), 7)
    looked = Reading(others=Others(3), other_clients=0)
    assert _with_last_others(looked, SPEC, manifest) == looked
    nonsense = {"status": {"capacity": GOOD, "others": {"connections": -1}}}
    assert _with_last_others(Reading(), SPEC, nonsense).others == NOBODY


def test_others_of_another_server_do_not_count() -> None:
    elsewhere = {**GOOD, "endpoint": "old:5432"}
    manifest = {"status": {"capacity": elsewhere, "others": {"connections": 60}}}
    assert _with_last_others(Reading(), SPEC, manifest).others == NOBODY
    declared = SPEC.model_copy(update={"capacity": Capacity(max_connections=100)})
    here = {"status": {"capacity": GOOD, "others": {"connections": 60}}}
    assert _with_last_others(Reading(), declared, here).others == NOBODY
