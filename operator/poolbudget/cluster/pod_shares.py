"""Telling pods their shares: which annotations differ from a plan, and how each is written.

An annotation is replaced only if it still says what was seen: whoever writes meanwhile makes the plan
worthless. That is compared by the API server itself, on the annotation alone: a pod's status changes all the
time, and must not get in the way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from poolbudget.cluster import paths
from poolbudget.cluster.api import CONFLICT, UNPROCESSABLE, Api, ApiError, Object
from poolbudget.cluster.observed import Observed
from poolbudget.cluster.pod_annotation import annotation_of, grant_text, shares_of
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.planning.in_place import (
    PATIENCE,
    Grant,
    is_acknowledged,
    next_grant,
    touch_due,
    touches_until,
)
from poolbudget.planning.inputs import Applied, Charge, Pod, PoolSizes, TargetKey
from poolbudget.planning.plan import Plan


@dataclass(frozen=True, slots=True)
class PodChange:
    """A pod that has to be told something. `before` is the cap that it has at least."""

    target: TargetKey
    record: PodRecord
    grant: Grant
    before: int

    @property
    def raises(self) -> bool:
        """Whether the pod may open more than before."""
        return self.grant.sizes.cap > self.before


def pod_changes(observed: Observed, plan: Plan, now: float) -> list[PodChange]:
    """The pods that the plan tells something, each with what is to stand in its annotation."""
    revision = observed.next_revision(now)
    result = []
    for target in observed.inputs.targets:
        pods = {pod.uid: pod for pod in target.pods}
        for share in plan.target(target.key).shares:
            if share.changes:
                pod, old = pods[share.uid], observed.grants.get(share.uid)
                grant = next_grant(old, pod.charge, _applied(pod), revision, share.sizes, now, share.cost)
                result.append(PodChange(target.key, observed.pods[share.uid], grant, share.before))
    return result


def overdue(observed: Observed, plan: Plan, now: float) -> tuple[list[PodChange], float | None]:
    """The annotations to write once more since nobody has obeyed them, and when to look again for that.

    Only where the database was seen since: while nobody can look, nobody has failed to answer.
    """
    result, waits = [], []
    for target in observed.inputs.targets:
        changing = {share.uid for share in plan.target(target.key).shares if share.changes}
        for pod in target.pods:
            grant = observed.grants.get(pod.uid)
            if grant is None or not pod.is_adjustable or pod.uid in changing:
                continue
            if is_acknowledged(grant, _applied(pod)):
                continue
            if now < grant.time + PATIENCE:
                waits.append(grant.time + PATIENCE - now)
            due, seen = touch_due(grant), observed.sight.time
            if now >= due and seen is not None and seen > grant.time:
                touched = replace(grant, touched=touches_until(grant, now))
                result.append(PodChange(target.key, observed.pods[pod.uid], touched, grant.sizes.cap))
            elif now < due:
                waits.append(due - now)
    return result, min(waits, default=None)


def _applied(pod: Pod) -> Applied:
    return Applied() if pod.share is None else pod.share.applied


def touched_pods(observed: Observed, key: TargetKey, now: float) -> Iterator[PodChange]:
    """Every pod that follows a share, told what it was told already: a write under way is refused then.

    Whatever became of the pod or of its target since the claim: it may still obey. One that was told nothing
    is told the least there is.
    """
    revision, charges = observed.next_revision(now), observed.charges
    for record in observed.pods.values():
        if not record.may_hold:
            continue
        grant = observed.grants.get(record.uid)
        if grant is None:
            charge = charges.get(record.uid, Charge(0))
            grant = next_grant(None, charge, Applied(), revision, PoolSizes(1, 0), now)
        else:
            grant = replace(grant, touched=grant.touched + 1)
        yield PodChange(key, record, grant, grant.sizes.cap)


async def tell(
    api: Api, observed: Observed, changes: Sequence[PodChange]
) -> tuple[list[PodChange], list[tuple[PodChange, ApiError]]]:
    """Write annotations at the same time; returns those that went through, and the others' errors."""
    answers = await asyncio.gather(
        *(_write(api, observed, change) for change in changes), return_exceptions=True
    )
    written, failed = [], []
    for change, answer in zip(changes, answers, strict=True):
        if isinstance(answer, ApiError):
            failed.append((change, answer))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            written.append(change)
    return written, failed


async def _write(api: Api, observed: Observed, change: PodChange) -> None:
    record, budget = change.record, observed.reference.name
    path = paths.pod(record.namespace, record.name)
    try:
        operations = _operations(record, budget, grant_text(change.grant))
        await api.json_patch(path, operations, observed.reference.field_manager)
    except ApiError as error:
        if error.status != UNPROCESSABLE:
            raise
        pod = await api.find(path)
        metadata = {} if pod is None else pod["metadata"]
        if metadata.get("uid") == record.uid and dict(shares_of(metadata)).get(budget) == record.share(
            budget
        ):
            # Not what was tested: a policy, say, does not want the annotation.
            raise
        raise ApiError(CONFLICT, "Conflict", error.message) from None


def _operations(record: PodRecord, budget: str, text: str) -> list[Object]:
    """RFC 6902: write only where pod and annotation are what was seen."""
    name = annotation_of(budget)
    path = "/metadata/annotations/" + name.replace("~", "~0").replace("/", "~1")
    same_pod = {"op": "test", "path": "/metadata/uid", "value": record.uid}
    if not record.has_annotations:
        return [
            same_pod,
            {"op": "test", "path": "/metadata/annotations", "value": None},
            {"op": "add", "path": "/metadata/annotations", "value": {name: text}},
        ]
    return [
        same_pod,
        {"op": "test", "path": path, "value": record.share(budget)},
        {"op": "add", "path": path, "value": text},
    ]


def in_words(changes: Iterable[PodChange]) -> Iterator[str]:
    """What was told, such as `Deployment/api: 3 pods 51 -> 13, 9 pods new -> 13`."""
    by_target: dict[TargetKey, Counter[tuple[str, int]]] = {}
    for change in changes:
        before = "new" if change.grant.charged == 0 or not change.grant.earlier else str(change.before)
        by_target.setdefault(change.target, Counter())[before, change.grant.sizes.cap] += 1
    for key, counts in by_target.items():
        parts = (
            f"{count} pod{'s' if count != 1 else ''} {before} -> {cap}"
            for (before, cap), count in sorted(counts.items())
        )
        yield f"{key}: {', '.join(parts)}"
