"""What pods say of themselves in the database, and whom it is believed of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from poolbudget.capacity.consumers import Backends, Own, others
from poolbudget.capacity.sightings import Sighting, Tagged, tagged
from poolbudget.cluster.in_place import Sight, ended, following, obstacle, sight, strangers
from poolbudget.cluster.pod_annotation import grant_text
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.planning.in_place import Grant
from poolbudget.planning.inputs import Charge, Pod, PodCost, PodStage, PoolSizes
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.tag import Tag, budget_part, labelled, pod_part

NOW = 1_800_000_000.0
UID = "0a1b2c3d-1111-2222-3333-00000000000a"
OTHER = "0a1b2c3d-1111-2222-3333-00000000000b"
ONE, TWO = PodCost(1, 0), PodCost(2, 0)


def tag(uid: str = UID, revision: int = 7, process: str = "p1", pool: int = 0, cap: int = 5) -> Tag:
    return Tag(pod_part(uid), process, budget_part("shop/orders"), pool, revision, cap)


def record(uid: str = UID, grant: Grant | None = None, address: str = "") -> PodRecord:
    return PodRecord(
        *(
            "shop",
            f"api-{uid[-1]}",
            uid,
            "1",
            None,
            (),
            PodStage.RUNNING,
            NOW - 100,
            NOW - 100,
            None,
            True,
            (),
        ),
        address=address,
        shares=() if grant is None else (("orders", grant_text(grant)),),
        follows=frozenset({"orders"}),
    )


def seen(*rows: Tagged, pods: tuple[PodRecord, ...] = (), **acknowledged: int) -> Sight:
    return sight(Sighting(NOW, rows), "shop", "orders", pods, acknowledged)


def test_the_lowest_revision_of_all_pools_counts() -> None:
    found = seen(Tagged(tag(revision=7), "", 3), Tagged(tag(revision=8, process="p2"), "", 2))
    assert found.applied(UID, TWO).revision == 7
    assert found.applied(UID, TWO).connections == 5


def test_of_one_pool_the_newest_does() -> None:
    found = seen(Tagged(tag(revision=6), "", 3), Tagged(tag(revision=8), "", 1))
    assert found.applied(UID, ONE).revision == 8


def test_a_process_that_is_not_seen_has_applied_nothing() -> None:
    assert seen(Tagged(tag(), "", 3)).applied(UID, TWO).revision is None
    assert seen().applied(UID, ONE).revision is None
    assert sight(None, "shop", "orders", (), {}).applied(UID, ONE).revision is None


def test_what_was_applied_once_stays_so() -> None:
    known = sight(Sighting(NOW, ()), "shop", "orders", (), {UID: 7})
    assert known.applied(UID, TWO).revision == 7


def test_tags_of_other_budgets_are_theirs() -> None:
    foreign = replace(tag(), budget=budget_part("shop/replica"))
    assert seen(Tagged(foreign, "", 3)).applied(UID, ONE).connections == 0


def test_a_pod_cannot_speak_for_another() -> None:
    pods = (record(address="10.0.0.1"), record(OTHER, address="10.0.0.2"))
    forged = seen(Tagged(tag(), "10.0.0.2", 1), pods=pods)
    # It says nothing, and its connection counts: an address may have been another pod's before.
    assert (forged.applied(UID, ONE).revision, forged.applied(UID, ONE).connections) == (None, 1)
    own = seen(Tagged(tag(), "10.0.0.1", 1), pods=pods)
    assert own.applied(UID, ONE).revision == 7
    unknown = seen(Tagged(tag(), "10.9.9.9", 1), pods=pods)
    assert unknown.applied(UID, ONE).revision == 7


def test_everybody_may_come_through_a_pooler_in_the_same_namespace() -> None:
    pooler = replace(record(OTHER, address="10.0.0.9"), follows=frozenset())
    found = seen(Tagged(tag(), "10.0.0.9", 3), pods=(record(address="10.0.0.1"), pooler))
    assert found.applied(UID, ONE).revision == 7


GRANT = Grant(7, PoolSizes(5, 0), NOW - 50, 30)


def followed(pod: PodRecord, found: Sight, worst: int = 155) -> Pod:
    started = Pod(pod.uid, pod.name, PodStage.RUNNING, Charge(1))
    return following(started, pod, found, ONE, "orders", NOW, worst, 1)


def test_a_pod_is_charged_what_it_has_applied() -> None:
    assert followed(record(grant=GRANT), seen(Tagged(tag(), "", 2))).charge.connections == 5
    assert followed(record(grant=GRANT), seen()).charge.connections == 30


def test_a_revision_from_the_far_future_is_an_edited_one() -> None:
    far = replace(GRANT, revision=2**51)
    assert followed(record(grant=far), seen()).charge.connections == 155


def test_what_an_ended_pod_held_is_by_the_workers_of_its_time() -> None:
    four = replace(GRANT, charged=0, cost=PodCost(4, 2))
    gone = replace(record(grant=four), stage=None, ended=NOW - 1)
    found = ended(gone, sight(Sighting(NOW - 2, ()), "shop", "orders", (gone,), {}), "orders", NOW)
    assert found is not None
    assert found.charge.connections == 22


def test_an_edited_annotation_is_answered_with_the_worst() -> None:
    edited = replace(record(), shares=(("orders", "{}"),))
    assert followed(edited, seen()).charge.connections == 155
    assert followed(edited, seen(Tagged(tag(revision=0, cap=1), "", 1))).charge.connections == 1


def test_an_ended_pod_counts_until_the_database_was_seen_without_it() -> None:
    gone = replace(record(grant=GRANT), stage=None, ended=NOW - 1)
    before = sight(Sighting(NOW - 2, ()), "shop", "orders", (gone,), {})
    found = ended(gone, before, "orders", NOW)
    assert found is not None
    assert (found.charge.connections, found.stage, found.is_replica) == (30, PodStage.ENDED, False)
    left = ended(gone, seen(Tagged(tag(), "", 2)), "orders", NOW)
    assert left is not None
    assert left.charge.connections == 2
    assert ended(gone, seen(), "orders", NOW) is None


def test_connections_of_pods_that_nobody_knows_count() -> None:
    found = seen(Tagged(tag(), "", 2), Tagged(tag(OTHER), "", 4))
    [stranger] = strangers(found, [UID])
    assert stranger.charge.connections == 4


def test_a_made_up_revision_does_not_push_ours() -> None:
    far = Tagged(tag(revision=2**50), "", 1)
    assert seen(far, Tagged(tag(revision=12), "", 1)).newest(NOW) == 12


def test_tags_are_found_among_all_connections() -> None:
    rows = [Backends("app", "db", labelled("orders", tag()), "", 3), Backends("app", "db", "psql", "", 1)]
    assert tagged(rows) == (Tagged(tag(), "", 3),)
    assert rows[0].name == "orders (app)"


def test_tagged_connections_are_the_targets_own_also_when_their_pod_is_gone() -> None:
    rows = [
        Backends("app", "db", labelled("orders", tag()), "10.0.0.9", 3),
        Backends("x", "db", "etl", "", 4),
    ]
    own = Own(addresses=frozenset({"10.0.0.1"}), budgets=frozenset({budget_part("shop/orders")}), running=1)
    assert others(rows, own, "db", None).connections == 4


@pytest.mark.parametrize(
    ("pooler", "words"),
    [
        ({}, None),
        ({"type": "PgBouncer", "mode": "Session"}, None),
        ({"type": "PgBouncer", "mode": "Transaction"}, "adminUrlSecretKeyRef"),
        ({"type": "RDSProxy"}, "adminUrlSecretKeyRef"),
        ({"type": "PgBouncer", "mode": "Transaction", "adminUrlSecretKeyRef": {"name": "a"}}, None),
        (
            {
                "type": "PgBouncer",
                "mode": "Transaction",
                "adminUrlSecretKeyRef": {"name": "a"},
                "replicas": 2,
            },
            "2 replicas",
        ),
    ],
)
def test_where_pods_cannot_be_seen(pooler: dict[str, object], words: str | None) -> None:
    spec = PoolBudgetSpec.model_validate(
        {
            "endpoint": {"host": "db", "pooler": pooler},
            "capacity": {"maxConnections": 100, "probe": {"urlSecretKeyRef": {"name": "s"}}},
            "targets": [{"name": "api"}],
        }
    )
    found = obstacle(spec)
    assert found is None if words is None else found is not None and words in found
