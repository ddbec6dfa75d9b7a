"""Pods that follow their shares: what each was told, what it says in the database, and its charge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from poolbudget.capacity.sightings import Sighting, Tagged
from poolbudget.cluster.pod_annotation import read_grant
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.planning.in_place import Grant, in_place_charge, pod_share
from poolbudget.planning.inputs import Applied, Charge, Pod, PodCost, PodStage, UpdateMode
from poolbudget.resource.endpoint import PoolerType
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.target import TargetSpec
from poolbudget.tag import budget_part, pod_part

_FAR_FUTURE = 86_400
"""Seconds by which a revision may be ahead of the clock: revisions are seconds since 1970 at least."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a PoolBudget's pods say in the database, by the pods' part of their tags.

    `time` is when that was looked at (seconds since 1970), None where nobody has. `acknowledged` are the
    revisions that all pools of a pod were once seen to have applied, by uid: shares only grow newer, so that
    stays true when a connection is gone or has been reset. `unexplained` are connections that name a pod and
    come from another one's address: they count, and say nothing. `hides_states`: the server does not show
    whether they are in use.
    """

    time: float | None = None
    tagged: Mapping[str, tuple[Tagged, ...]] = field(default_factory=dict)
    acknowledged: Mapping[str, int] = field(default_factory=dict)
    unexplained: Mapping[str, int] = field(default_factory=dict)
    hides_states: bool = False

    def applied(self, uid: str, cost: PodCost) -> Applied:
        """What one pod says. A process that is not seen has not applied anything, as far as is known."""
        rows = self.tagged.get(_part(uid), ())
        newest: dict[tuple[str, int], int] = {}
        for row in rows:
            pool = row.tag.process, row.tag.pool
            newest[pool] = max(row.tag.revision, newest.get(pool, 0))
        seen = min(newest.values()) if len(newest) >= cost.pools else None
        known = self.acknowledged.get(uid)
        revisions = [revision for revision in (seen, known) if revision is not None]
        return Applied(
            max(revisions, default=None),
            max((row.tag.cap for row in rows), default=0),
            sum(row.connections for row in rows) + self.unexplained.get(_part(uid), 0),
        )

    def newest(self, now: float) -> int:
        """The highest revision that anybody names; one that nobody can have been told does not count."""
        revisions = (row.tag.revision for rows in self.tagged.values() for row in rows)
        return max((item for item in revisions if item < now + _FAR_FUTURE), default=0)


def sight(
    sighting: Sighting | None,
    namespace: str,
    budget: str,
    pods: Iterable[PodRecord],
    acknowledged: Mapping[str, int],
) -> Sight:
    """What belongs to a PoolBudget's pods. A tag from another pod's address says nothing."""
    if sighting is None:
        return Sight(acknowledged=acknowledged)
    part = budget_part(f"{namespace}/{budget}")
    # Others' addresses may be those of poolers, through which everybody comes.
    followers = (pod for pod in pods if budget in pod.follows and pod.address and pod.may_hold)
    owners = {pod.address: _part(pod.uid) for pod in followers}
    found: dict[str, tuple[Tagged, ...]] = {}
    unexplained: Counter[str] = Counter()
    for row in sighting.tagged:
        if row.tag.budget != part:
            continue
        if owners.get(row.address, row.tag.pod) == row.tag.pod:
            found[row.tag.pod] = (*found.get(row.tag.pod, ()), row)
        else:
            unexplained[row.tag.pod] += row.connections
    hides = any(row.hidden for rows in found.values() for row in rows)
    return Sight(sighting.time, found, acknowledged, unexplained, hides)


def following(
    pod: Pod,
    record: PodRecord,
    sight: Sight,
    cost: PodCost,
    budget: str,
    now: float,
    worst: int,
    restarted: int,
) -> Pod:
    """A pod that has its share as a file: charged by what it may have applied, told what it is to apply.

    `worst` connections are assumed where somebody has written into its annotation what makes no sense, and
    `restarted` are the most by what one of its containers reads that starts about now.
    """
    grant, initial = grant_of(record, budget, now), pod.charge
    if grant is None and record.share(budget) is not None:
        initial = Charge(worst, 0, None, "its annotation was edited, unknown what it may open")
    applied = sight.applied(record.uid, cost)
    return replace(
        pod,
        charge=in_place_charge(grant, initial, applied, cost, restarted),
        share=pod_share(grant, applied, sight.time, cost, has_started=pod.stage is not PodStage.STARTING),
    )


def grant_of(record: PodRecord, budget: str, now: float) -> Grant | None:
    """What a PoolBudget has told a pod; None where nothing, or nothing that makes sense."""
    text = record.share(budget)
    grant = None if text is None else read_grant(text)
    return None if grant is None or grant.revision > now + _FAR_FUTURE else grant


def ended(record: PodRecord, sight: Sight, budget: str, now: float) -> Pod | None:
    """A pod whose end is confirmed: what it held counts until the database is seen without it.

    The server notices the end of a process only when it next talks to it: a statement that runs goes on.
    """
    grant = grant_of(record, budget, now)
    if record.ended is None or grant is None:
        return None
    cost = grant.cost
    applied = sight.applied(record.uid, cost)
    if sight.time is not None and sight.time > record.ended:
        connections, basis = applied.connections, f"ended, {applied.connections} connections left"
    else:
        connections = in_place_charge(grant, Charge(0), applied, cost).connections
        basis = f"ended, its {connections} connections not yet seen to be gone"
    if not connections:
        return None
    return Pod(record.uid, record.name, PodStage.ENDED, Charge(connections, basis=basis), is_replica=False)


def strangers(sight: Sight, charged: Iterable[str]) -> Iterator[Pod]:
    """Pods that are known by their connections only, beside those that are `charged` (uids).

    Gone long ago, of nobody's target, or of a cluster beside this one.
    """
    known = {_part(uid) for uid in charged}
    for part, rows in sorted(sight.tagged.items()):
        if part not in known:
            connections = sum(row.connections for row in rows)
            basis = f"no such pod, {connections} connections seen"
            yield Pod(
                part, f"(pod {part})", PodStage.ENDED, Charge(connections, basis=basis), is_replica=False
            )


def is_in_place(spec: PoolBudgetSpec, target: TargetSpec) -> bool:
    """Whether a target's pods are told shares of their own: asked for, and nothing in the way."""
    return target.update_mode is UpdateMode.IN_PLACE and obstacle(spec) is None


def obstacle(spec: PoolBudgetSpec) -> str | None:
    """Why what pods say of themselves cannot be seen, None where it can."""
    pooler = spec.endpoint.pooler
    if not pooler.shares_connections:
        return None
    if pooler.type is not PoolerType.PG_BOUNCER or pooler.admin_url_secret_key_ref is None:
        return (
            "behind a pooler that shares connections the database does not show which pod uses one: give "
            "endpoint.pooler.adminUrlSecretKeyRef, where PgBouncer's console tells"
        )
    if pooler.replicas > 1:
        return f"the pooler has {pooler.replicas} replicas, and the console of one shows its own clients only"
    return None


def _part(uid: str) -> str:
    try:
        return pod_part(uid)
    except ValueError:
        return uid
