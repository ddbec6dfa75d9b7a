"""PB1xx: sums against what the server allows."""

from __future__ import annotations

import re
from collections.abc import Iterator

from poolbudget.capacity.estimate import cores
from poolbudget.capacity.reading import ESTIMATE
from poolbudget.cluster.facts import Facts
from poolbudget.planning.inputs import Target
from poolbudget.planning.shares import Claim, Group, fair_caps

Found = Iterator[tuple[str, str]]

_SMALL_CAP = 5
_FAR_ABOVE = 50
"""Connections per core: with 2 to 4 running per core a server is busy (HikariCP, "About Pool Sizing")."""


def floors_exceed(facts: Facts) -> Found:
    """PB101: the autoscaler's maximum does not fit, even at the floors."""
    usable = facts.observed.usable
    if usable is None or facts.plan.feasible:
        return
    yield (
        facts.observed.reference.name,
        f"{facts.plan.expected_pods} pods need {facts.plan.floor_sum} connections at their floors and "
        f"usable are {usable.connections}: lower maxReplicas so that {facts.plan.max_pods} pods come at "
        "most, or put a pooler in between",
    )


def caps_at_maximum(facts: Facts) -> dict[str, int]:
    """The fair cap of each target if all pods ran that may ever run, by the target's name in words."""
    usable = facts.observed.usable
    if usable is None:
        return {}
    targets = [target for target in facts.observed.inputs.targets if not target.is_former]
    claims = [_claim_at_maximum(target, usable.connections) for target in targets]
    caps = fair_caps(usable.connections, claims)
    return {str(target.key): cap for target, cap in zip(targets, caps, strict=True)}


def _claim_at_maximum(target: Target, usable: int) -> Claim:
    bounds = target.bounds
    pods = len(target.pods) if target.workload is None else target.workload.maximum()
    limit = usable if bounds.max_per_pool is None else bounds.max_per_pool
    groups = (Group(pods, bounds.pod_cost),) if pods else ()
    return Claim(bounds.floor, max(limit, bounds.floor), bounds.weight, groups)


def small_at_maximum(facts: Facts) -> Found:
    """PB102: at the autoscaler's maximum the pools are too small to be of much use."""
    caps = caps_at_maximum(facts)
    for target in facts.observed.inputs.targets:
        cap = caps.get(str(target.key))
        wanted = target.bounds.max_per_pool
        if cap is None or cap >= _SMALL_CAP or (wanted is not None and wanted <= cap):
            continue
        yield (
            str(target.key),
            f"with all pods that may run each pool has {cap} connections: fewer workers, a lower "
            "maxReplicas or a pooler would give requests less to wait for",
        )


def thin_reserves(facts: Facts) -> Found:
    """PB103: little is left for administrators."""
    usable = facts.observed.usable
    if usable is not None and usable.warning is not None:
        yield facts.observed.reference.name, usable.warning


def beyond_cores(facts: Facts) -> Found:
    """PB104: far more connections than the server's cores can work on."""
    spec, usable = facts.observed.spec, facts.observed.usable
    count = cores(spec.endpoint, spec.capacity.estimate)
    if usable is None or count is None or facts.plan.allocated <= _FAR_ABOVE * count:
        return
    yield (
        facts.observed.reference.name,
        f"pods may open {facts.plan.allocated} connections and the server has {count} cores: a few per core "
        "are enough to keep it busy, so set maxPerPool",
    )


_WORKERS = re.compile(r"(?:^|\s)(?:-w|--workers)[ =]?([0-9]{1,4})\b|WEB_CONCURRENCY=([0-9]{1,4})\b")
_SERVERS = re.compile(r"gunicorn|uvicorn|hypercorn|granian|WEB_CONCURRENCY=")


def hidden_workers(facts: Facts) -> Found:
    """PB105: the pod template starts more worker processes than the target says."""
    for spec in facts.observed.spec.targets:
        started = _workers_started(facts.template(spec.key))
        if started > spec.workers:
            yield (
                str(spec.key),
                f"the pod template starts {started} worker processes and the target says {spec.workers}: "
                f"each has pools of its own, so set workers: {started}",
            )


def _workers_started(template: dict[str, object]) -> int:
    most = 1
    for container in (template.get("spec") or {}).get("containers") or []:  # type: ignore[attr-defined]
        words = [*(container.get("command") or []), *(container.get("args") or [])]
        words += [f"{item['name']}={item.get('value')}" for item in container.get("env") or []]
        text = " ".join(str(word) for word in words)
        for groups in _WORKERS.findall(text) if _SERVERS.search(text) else ():
            most = max(most, *(int(text) for text in groups if text))
    return most


def rollout_exceeds(facts: Facts) -> Found:
    """PB106: the next rollout may need more than is usable, while old pods terminate."""
    usable = facts.observed.usable
    for key, expected in facts.forecasts.items():
        if usable is None or expected.worst <= usable.connections:
            continue
        remedy = (
            "set minReadySeconds to the time that pods take to terminate"
            if expected.largest_safe_surge is None
            else f"set maxSurge to {expected.largest_safe_surge}"
        )
        yield (
            str(key),
            f"the next rollout may come to {expected.worst} of {usable.connections} while old pods "
            f"terminate: {remedy}",
        )


def smaller_replica(facts: Facts) -> Found:
    """PB107: the same pods use two servers, and the replica allows fewer connections than the primary."""
    capacity = facts.observed.capacity
    if capacity is None or capacity.limits is None:
        return
    mine = capacity.limits.max_connections
    if not (capacity.limits.in_recovery or facts.observed.spec.endpoint.is_replica_by_name):
        return
    for sibling in facts.observed.siblings:
        if not sibling.is_replica and sibling.max_connections > mine:
            yield (
                facts.observed.reference.name,
                f"this replica allows {mine} connections and the primary of PoolBudget "
                f"{sibling.name} {sibling.max_connections}: give the replica the primary's class, or expect "
                "reads to wait first",
            )


def only_an_estimate(facts: Facts) -> Found:
    """PB108: nobody has asked the server."""
    capacity = facts.observed.capacity
    if capacity is None or capacity.source != ESTIMATE or facts.observed.spec.capacity.probe is not None:
        return
    pooler = capacity.pooler
    if pooler is None or pooler.clients is None or pooler.holds_session:
        yield (
            facts.observed.reference.name,
            f"the capacity is an estimate ({capacity.connections}): add capacity.probe, or look up "
            "max_connections and set capacity.maxConnections",
        )
