"""Telling pods their shares: which annotations differ from a plan, and how each is written.

An annotation is replaced only if it still says what was seen: whoever writes meanwhile makes the plan
worthless. That is compared by the API server itself, on the annotation alone: a pod's status changes all the
time, and must not get in the way.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from poolbudget.cluster import paths
from poolbudget.cluster.api import CONFLICT, UNPROCESSABLE, Api, ApiError, Object
from poolbudget.cluster.observed import Observed
from poolbudget.cluster.pod_annotation import annotation_of, grant_text, shares_of
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.planning.inputs import TargetKey
from poolbudget.planning.plan import Plan
from poolbudget.planning.telling import Telling, to_repeat, to_tell, to_touch


def pod_changes(observed: Observed, plan: Plan, now: float) -> list[Telling]:
    """The pods that a plan tells something."""
    revision = observed.next_revision(now)
    return to_tell(observed.inputs.targets, plan, observed.grants, revision, now)


def overdue(observed: Observed, plan: Plan, now: float) -> tuple[list[Telling], float | None]:
    """The annotations to write once more since nobody has obeyed them, and when to look again for that."""
    return to_repeat(observed.inputs.targets, plan, observed.grants, observed.sight.time, now)


def touched_pods(observed: Observed, key: TargetKey, now: float) -> list[Telling]:
    """Every pod that follows a share and may still obey, told the same once more."""
    uids = (record.uid for record in observed.pods.values() if record.may_hold)
    revision = observed.next_revision(now)
    return to_touch(key, uids, observed.charges, observed.grants, revision, now)


async def tell(
    api: Api, observed: Observed, changes: Sequence[Telling]
) -> tuple[list[Telling], list[tuple[Telling, ApiError]]]:
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


async def _write(api: Api, observed: Observed, change: Telling) -> None:
    record, budget = observed.pods[change.uid], observed.reference.name
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


def in_words(changes: Iterable[Telling]) -> Iterator[str]:
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
