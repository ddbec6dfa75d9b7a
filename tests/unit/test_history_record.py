"""The history as it stands in a ConfigMap: read back, edited by hand, lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from poolbudget.cluster import config_map
from poolbudget.cluster.config_map import BudgetReference, WantedConfigMap
from poolbudget.cluster.ledger import ledger_status, read_ledger
from poolbudget.cluster.pod_records import pod_record
from poolbudget.planning.history import UNKNOWN, History, extended, first_entry, settled
from poolbudget.planning.inputs import PodCost, PodStage, PoolSizes, TargetKey
from poolbudget.planning.ledger import Ledger, LostPod
from poolbudget.recipes.render import Recipe
from poolbudget.resource.endpoint import Endpoint
from poolbudget.resource.times import seconds

BUDGET = BudgetReference("shop", "orders", "uid-1")
KEY = TargetKey("Deployment", "api")
NOW = 1_800_000_000.0
COST = PodCost(2, 1)
RECIPE = Recipe(Endpoint(host="db"), "api", ())
FIRST = first_entry(5, 50, COST, 1_700_000_000.0)
SECOND = extended(settled(FIRST, 1_700_000_050.0), 6, 17, COST, 1_700_000_100.25)


def manifest(history: History, sizes: PoolSizes, arrived: str | None = None) -> dict[str, Any]:
    """As the API server gives it back, with the time of the last write."""
    wanted = WantedConfigMap("api-pool", KEY, ("",), sizes, COST, owned=False, recipe=RECIPE)
    made = config_map.to_manifest(wanted, BUDGET, None, history, 6)
    if arrived is not None:
        made["metadata"]["managedFields"] = [
            {"manager": "poolbudget/orders", "operation": "Apply", "time": arrived}
        ]
    return made


def test_what_is_written_is_read_back() -> None:
    assert config_map.history_of(manifest(SECOND, PoolSizes(12, 5)), BUDGET, NOW) == SECOND


def test_the_former_entry_ends_when_the_api_server_had_the_write() -> None:
    live = manifest(SECOND, PoolSizes(12, 5), arrived="2023-11-14T22:15:02Z")
    read = config_map.history_of(live, BUDGET, NOW)
    assert read.entries[-2].until == seconds("2023-11-14T22:15:03Z")
    assert read.entries[-1].until is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[[1]]",
        "[" * 100_000,
        json.dumps([[1, 50, 1, 0, 2000.0, None], [2, 17, 1, 0, 1000.0, None]]),
        json.dumps([[1, 50, 1, 0, 1000.0, 10**400], [2, 17, 1, 0, 2000.0, None]]),
        json.dumps([[1, 50, 1, 0, 1000.0, 2000.0]]),
        json.dumps([[1, -5, 1, 0, 1000.0, None]]),
        json.dumps([[1, "5", 1, 0, 1000.0, None]]),
        json.dumps([[1, 5, 1, 0, 1.0, None], [2, 6, 1, 0, 2.0, None], [3, 7, 1, 0, 3.0, None]]),
    ],
    ids=["empty", "object", "short", "deep", "order", "absurd", "closed", "negative", "text", "gaps"],
)
def test_a_record_that_makes_no_sense_is_lost(text: str) -> None:
    live = manifest(SECOND, PoolSizes(12, 5))
    live["metadata"]["annotations"][config_map.HISTORY] = text
    assert config_map.history_of(live, BUDGET, NOW) == History()


def test_what_somebody_wrote_into_the_data_may_have_been_read() -> None:
    live = manifest(SECOND, PoolSizes(12, 5))
    live["data"]["POOL_SIZE"] = "90"
    read = config_map.history_of(live, BUDGET, NOW)
    assert [entry.cap for entry in read.entries] == [0, 50, 17, 95]
    assert [entry.until for entry in read.entries[-2:]] == [None, None]


def test_an_edit_is_dated_where_the_api_server_tells() -> None:
    live = manifest(SECOND, PoolSizes(12, 5))
    live["data"]["POOL_SIZE"] = "90"
    live["metadata"]["managedFields"] = [
        {
            "manager": "kubectl-patch",
            "operation": "Update",
            "time": "2023-11-15T00:00:00Z",
            "fieldsV1": {"f:data": {"f:POOL_SIZE": {}}},
        },
        # Who only put a label on it has changed nothing that a container reads.
        {"manager": "kubectl-label", "operation": "Update", "time": "2023-11-15T01:00:00Z"},
    ]
    assert config_map.history_of(live, BUDGET, NOW).entries[-1].since == seconds("2023-11-15T00:00:00Z")


@pytest.mark.parametrize("value", ["nonsense", "", "-1", "0"])
def test_what_is_no_size_may_mean_anything(value: str) -> None:
    """A pool_size of 0 is "no limit" to SQLAlchemy."""
    live = manifest(SECOND, PoolSizes(12, 5))
    live["data"]["POOL_SIZE"] = value
    assert config_map.readable_sizes(live) is None
    assert config_map.history_of(live, BUDGET, NOW).entries[-1].cap == UNKNOWN


def test_a_record_from_the_future_is_lost() -> None:
    assert config_map.history_of(manifest(SECOND, PoolSizes(12, 5)), BUDGET, 1_700_000_000.0) == History()


def test_a_lost_record_of_the_sizes_is_no_lost_history() -> None:
    live = manifest(SECOND, PoolSizes(12, 5))
    del live["metadata"]["annotations"][config_map.PUBLISHED]
    assert config_map.history_of(live, BUDGET, NOW) == SECOND
    assert config_map.readable_sizes(live) == PoolSizes(12, 5)


def test_the_ledger_is_read_back() -> None:
    lost = LostPod("u", "api-1", KEY, 20, 1_700_000_000.0)
    ledger = Ledger(7, ("api-pool",), (lost,))
    assert read_ledger({"status": {"ledger": ledger_status(ledger)}}) == ledger
    assert ledger_status(Ledger()) is None


def test_what_others_put_into_the_ledger_is_overwritten() -> None:
    """Server-side apply leaves what is not said."""
    assert ledger_status(Ledger(claim=7)) == {"claim": 7, "outstanding": [], "lost": []}


@pytest.mark.parametrize(
    "ledger", [None, {"claim": -1}, {"claim": 2**60}, {"lost": [{"uid": 1}]}, {"outstanding": "all"}]
)
def test_a_ledger_that_makes_no_sense_is_empty(ledger: Any) -> None:
    assert read_ledger({"status": {"ledger": ledger}}) == Ledger()


def pod(**changes: Any) -> dict[str, Any]:
    """A pod with one container that reads the ConfigMap, and runs."""
    return {
        "metadata": {
            "namespace": "shop",
            "name": "api-1",
            "uid": "u",
            "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **changes.get("metadata", {}),
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [{"name": "api", "envFrom": [{"configMapRef": {"name": "api-pool"}}]}],
            **changes.get("spec", {}),
        },
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:01Z"}
            ],
            "containerStatuses": [
                {"name": "api", "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}}}
            ],
            **changes.get("status", {}),
        },
    }


def starts(manifest: dict[str, Any]) -> tuple[str | None, str | None, bool] | None:
    """Seconds after the pod's creation at which its readers started."""
    facts = pod_record(manifest).facts("api-pool")
    assert facts is not None
    if not facts.reads:
        return None

    def after(time: float | None) -> str | None:
        return None if time is None else f"{time - facts.created:.0f}"

    return after(facts.started), after(facts.last_started), facts.has_run


def container(name: str, **state: Any) -> dict[str, Any]:
    return {"name": name, **state}


STARTED = {"state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}}}
LATER = {"state": {"running": {"startedAt": "2026-01-01T00:00:09Z"}}}
CRASHED = {
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"startedAt": "2026-01-01T00:00:07Z"}},
}
WAITING: dict[str, Any] = {"state": {"waiting": {"reason": "CreateContainerConfigError"}}}
ENV_FROM = [{"configMapRef": {"name": "api-pool"}}]
KEY_REF = [{"name": "SIZE", "valueFrom": {"configMapKeyRef": {"name": "api-pool", "key": "POOL_SIZE"}}}]


@pytest.mark.parametrize(
    ("containers", "statuses", "expected"),
    [
        ([container("a", envFrom=ENV_FROM)], [container("a", **STARTED)], ("5", "5", True)),
        ([container("a", env=KEY_REF)], [container("a", **CRASHED)], ("7", "7", True)),
        ([container("a", envFrom=ENV_FROM)], [container("a", **WAITING)], (None, None, False)),
        ([container("a", envFrom=ENV_FROM)], [], (None, None, False)),
        ([container("a")], [container("a", **STARTED)], None),
        (
            [container("a", envFrom=ENV_FROM), container("b", env=KEY_REF)],
            [container("a", **STARTED), container("b", **LATER)],
            ("5", "9", True),
        ),
        (
            [container("a", envFrom=ENV_FROM), container("b", envFrom=ENV_FROM)],
            [container("a", **STARTED), container("b", **WAITING)],
            (None, None, True),
        ),
    ],
    ids=["env from", "crashed", "waits", "no status", "reads nothing", "two", "one of two waits"],
)
def test_who_reads_and_since_when(containers: Any, statuses: Any, expected: Any) -> None:
    assert starts(pod(spec={"containers": containers}, status={"containerStatuses": statuses})) == expected


def test_a_volume_may_be_older_than_the_start() -> None:
    volume = {"name": "sizes", "projected": {"sources": [{"configMap": {"name": "api-pool"}}]}}
    assert starts(pod(spec={"volumes": [volume]})) == (None, None, True)


def test_init_containers_count_while_they_run() -> None:
    init = [container("init", envFrom=ENV_FROM)]
    ended = {"state": {"terminated": {"startedAt": "2026-01-01T00:00:02Z"}}}
    done = {"initContainerStatuses": [container("init", **ended)]}
    assert starts(pod(spec={"initContainers": init}, status=done)) == ("5", "5", True)
    running = {"initContainerStatuses": [container("init", **LATER)]}
    assert starts(pod(spec={"initContainers": init}, status=running)) == ("5", "9", True)


def test_when_deletion_was_asked_for() -> None:
    deleted = {"deletionTimestamp": "2026-01-01T00:01:00Z", "deletionGracePeriodSeconds": 30}
    record = pod_record(pod(metadata=deleted))
    assert record.stage is PodStage.TERMINATING
    assert record.deleted == seconds("2026-01-01T00:00:30Z")
    assert record.scheduled == seconds("2026-01-01T00:00:01Z")
    assert record.may_hold
    assert not pod_record(pod(spec={"nodeName": None})).may_hold
