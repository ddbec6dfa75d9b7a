"""Which pods are to be told what: by a plan, once more since nobody has obeyed, or the same under a claim.

The operator and the simulator carry out the same tellings. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from poolbudget.planning.in_place import (
    PATIENCE,
    Grant,
    is_acknowledged,
    next_grant,
    touch_due,
    touches_until,
)
from poolbudget.planning.inputs import Applied, Charge, Pod, PoolSizes, Target, TargetKey
from poolbudget.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class Telling:
    """A pod whose annotation is to say something else. `before` is the cap that it has at least."""

    target: TargetKey
    uid: str
    grant: Grant
    before: int

    @property
    def raises(self) -> bool:
        """Whether the pod may open more than before."""
        return self.grant.sizes.cap > self.before


def to_tell(
    targets: Sequence[Target], plan: Plan, grants: Mapping[str, Grant], revision: int, now: float
) -> list[Telling]:
    """The pods that a plan tells something, each with what is to stand in its annotation."""
    result = []
    for target in targets:
        pods = {pod.uid: pod for pod in target.pods}
        for share in plan.target(target.key).shares:
            if share.changes:
                pod, old = pods[share.uid], grants.get(share.uid)
                grant = next_grant(old, pod.charge, _applied(pod), revision, share.sizes, now, share.cost)
                result.append(Telling(target.key, share.uid, grant, share.before))
    return result


def to_repeat(
    targets: Sequence[Target], plan: Plan, grants: Mapping[str, Grant], seen: float | None, now: float
) -> tuple[list[Telling], float | None]:
    """The annotations to write once more since nobody has obeyed them, and in how many seconds to look again.

    Only where the database was `seen` since: while nobody can look, nobody has failed to answer. None where
    nothing is left to wait for.
    """
    changing = {share.uid for share in plan.shares if share.changes}
    result, waits = [], []
    for target in targets:
        for pod in target.pods:
            grant = grants.get(pod.uid)
            if grant is None or not pod.is_adjustable or pod.uid in changing:
                continue
            if is_acknowledged(grant, _applied(pod)):
                continue
            due = touch_due(grant)
            if now >= due and seen is not None and seen > grant.time:
                touched = replace(grant, touched=touches_until(grant, now))
                result.append(Telling(target.key, pod.uid, touched, grant.sizes.cap))
            waits += [time - now for time in (due, grant.time + PATIENCE) if time > now]
    return result, min(waits, default=None)


def to_touch(
    key: TargetKey,
    uids: Iterable[str],
    charges: Mapping[str, Charge],
    grants: Mapping[str, Grant],
    revision: int,
    now: float,
) -> list[Telling]:
    """Every pod that follows a share, told what it was told already: a write under way is refused then.

    Whatever became of the pod or of its target since the claim: it may still obey. One that was told nothing
    is told the least there is.
    """
    result = []
    for uid in uids:
        grant = grants.get(uid)
        if grant is None:
            grant = next_grant(None, charges.get(uid, Charge(0)), Applied(), revision, PoolSizes(1, 0), now)
        else:
            grant = replace(grant, touched=grant.touched + 1)
        result.append(Telling(key, uid, grant, grant.sizes.cap))
    return result


def _applied(pod: Pod) -> Applied:
    return Applied() if pod.share is None else pod.share.applied
