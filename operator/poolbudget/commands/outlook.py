"""What a PoolBudget would do: now, after a scaling, at the autoscaler's maximum, and the plain formula."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from poolbudget.capacity.reading import Reading
from poolbudget.cluster.api import Object, Reader
from poolbudget.cluster.checks import exclusive
from poolbudget.cluster.facts import Facts
from poolbudget.cluster.gather import Context, gather
from poolbudget.cluster.neighbours import neighbours_among
from poolbudget.cluster.observed import Observed, parse_spec
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.lint.checks import lint
from poolbudget.lint.finding import Finding
from poolbudget.lint.sums import caps_at_maximum
from poolbudget.planning.charges import Assumptions
from poolbudget.planning.inputs import Charge, Inputs, Pod, PodShare, PodStage, PoolSizes, Target, TargetKey
from poolbudget.planning.plan import Plan, TargetPlan, plan
from poolbudget.recipes.render import rendered
from poolbudget.resource.conditions import Condition
from poolbudget.resource.target import TargetSpec

_NOT_ASKED = Reading()

ReadPods = Callable[[], Awaitable[list[PodRecord]]]


@dataclass(frozen=True, slots=True)
class TargetOutlook:
    """One target: sizes now and after, in connections; `at_maximum` is its cap once all pods run."""

    key: TargetKey
    before: TargetPlan
    after: TargetPlan
    pods_before: int
    pods_after: int
    each: int
    maximum: int
    at_maximum: int | None
    config_map: str
    data: dict[str, str]
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """A whole PoolBudget, in connections. In `sum_after` old pods count with what they hold."""

    name: str
    namespace: str
    endpoint: str
    source: str | None
    usable: int | None
    arithmetic: str
    targets: tuple[TargetOutlook, ...]
    sum_before: int
    sum_after: int
    sum_in_words: str
    formula_in_words: str
    formula: int
    rollout_worst: int | None
    safe_max_surge: int | None
    feasible: bool
    floor_sum: int
    expected_pods: int
    max_pods: int | None
    alone: Condition
    findings: tuple[Finding, ...]

    @property
    def fits(self) -> bool:
        """Whether everything that may come fits, up to the autoscaler's maximum.

        Not where another PoolBudget counts on the same connections.
        """
        return (
            self.usable is not None and self.feasible and self.sum_after <= self.usable and self.alone.is_true
        )


async def outlook(
    reader: Reader,
    manifest: Object,
    everything: list[Object],
    read_pods: ReadPods | None,
    scale: Mapping[str, int],
    now: float,
    reading: Reading = _NOT_ASKED,
) -> Outlook:
    """Look at a PoolBudget and at all that it binds.

    `read_pods` gives the pods of a live cluster; without it every workload is taken to run all of its
    replicas, started with what is published for them. Raises InvalidSpecError and ApiError.
    """
    spec = parse_spec(manifest)
    neighbours, siblings = neighbours_among(manifest, spec, everything)
    context = Context(
        read_pods=read_pods or _no_pods,
        is_complete=True,
        reading=reading,
        neighbours=neighbours,
        siblings=siblings,
        assumptions=Assumptions(),
        now=now,
    )
    seen = await gather(reader, manifest, spec, context)
    if read_pods is None:
        seen = replace(seen, inputs=_following(_running(_at_least_minimum(seen.inputs))))
    before = plan(seen.inputs)
    later = replace(seen.inputs, targets=tuple(_scaled(target, scale) for target in seen.inputs.targets))
    if read_pods is None:
        later = _following(later)
    after = plan(later)
    return _outlook(seen, before, replace(seen, inputs=later), after)


async def _no_pods() -> list[PodRecord]:
    return []


def _at_least_minimum(inputs: Inputs) -> Inputs:
    """Manifests leave the replicas to the autoscaler, which starts with its minimum."""
    return replace(inputs, targets=tuple(_with_minimum(target) for target in inputs.targets))


def _with_minimum(target: Target) -> Target:
    workload = target.workload
    if workload is None or workload.autoscaler is None:
        return target
    desired = max(workload.desired, workload.autoscaler.min_replicas)
    return replace(target, workload=replace(workload, desired=desired))


def _running(inputs: Inputs) -> Inputs:
    """All replicas run, each with what it was told at its start."""
    first = plan(inputs)
    targets = []
    for target in inputs.targets:
        sizes = first.target(target.key).sizes
        count = 0 if target.workload is None else target.workload.desired
        if sizes is None:
            targets.append(target)
            continue
        held = target.bounds.cost(sizes.cap)
        pods = tuple(
            Pod(
                f"{target.key}-{index}",
                f"{target.key.name}-{index}",
                PodStage.RUNNING,
                Charge(held, held, target.bounds.pod_cost),
            )
            for index in range(count)
        )
        targets.append(replace(target, pods=pods, published=sizes))
    return replace(inputs, targets=tuple(targets))


def _following(inputs: Inputs) -> Inputs:
    """All replicas of InPlace targets run, and have applied the shares that they get in the end."""
    made = replace(inputs, targets=tuple(_with_followers(target) for target in inputs.targets))
    told = {share.uid: share.sizes for share in plan(made).shares}
    targets = []
    for target in made.targets:
        pods = tuple(
            replace(
                pod,
                charge=Charge(target.bounds.cost(told[pod.uid].cap)),
                share=PodShare(told[pod.uid], is_acknowledged=True),
            )
            if pod.uid in told
            else pod
            for pod in target.pods
        )
        targets.append(replace(target, pods=pods))
    return replace(made, targets=tuple(targets))


def _with_followers(target: Target) -> Target:
    if not target.is_in_place or target.workload is None:
        return target
    start = Charge(target.bounds.cost(target.bounds.start_per_pool))
    pods = (
        Pod(f"{target.key}-{index}", f"{target.key.name}-{index}", PodStage.RUNNING, start, share=PodShare())
        for index in range(target.workload.desired)
    )
    return replace(target, pods=tuple(pods))


def _scaled(target: Target, scale: Mapping[str, int]) -> Target:
    replicas = scale.get(target.key.name)
    if replicas is None or target.workload is None:
        return target
    return replace(target, workload=replace(target.workload, desired=replicas))


def _desired(target: Target) -> int:
    return len(target.pods) if target.workload is None else max(target.workload.desired, 0)


def _outlook(seen: Observed, before: Plan, later: Observed, after: Plan) -> Outlook:
    facts = Facts(later, after)
    caps = caps_at_maximum(facts)
    usable = None if seen.usable is None else seen.usable.connections
    formula_caps = _formula_cap(usable, seen.inputs), _formula_cap(usable, later.inputs)
    targets, formula = [], []
    for old, new in zip(seen.inputs.targets, later.inputs.targets, strict=True):
        spec = seen.target_spec(old.key)
        if spec is not None:
            found = _target(later, spec, (before, after), (old, new))
            targets.append(replace(found, at_maximum=caps.get(str(old.key))))
            formula.append(_formula(old, new, *formula_caps))
    sums = [_sum_after(new, after.target(new.key)) for new in later.inputs.targets]
    worst = list(facts.forecasts.values())
    surges = [item.largest_safe_surge for item in worst if item.largest_safe_surge is not None]
    return Outlook(
        name=seen.reference.name,
        namespace=seen.reference.namespace,
        endpoint=seen.spec.endpoint.address,
        source=None if seen.capacity is None else seen.capacity.source,
        usable=usable,
        arithmetic="" if seen.usable is None else seen.usable.arithmetic,
        targets=tuple(targets),
        sum_before=before.allocated,
        sum_after=sum(total for total, _ in sums),
        sum_in_words=_in_words(sums),
        formula=sum(total for total, _ in formula),
        formula_in_words=_in_words(formula),
        rollout_worst=max((item.worst for item in worst), default=None),
        safe_max_surge=min(surges, default=None) if len(surges) == len(worst) else None,
        feasible=after.feasible,
        floor_sum=after.floor_sum,
        expected_pods=after.expected_pods,
        max_pods=after.max_pods,
        alone=exclusive(facts),
        findings=tuple(lint(facts)),
    )


def _target(
    seen: Observed, spec: TargetSpec, plans: tuple[Plan, Plan], targets: tuple[Target, Target]
) -> TargetOutlook:
    (before, after), (old, new) = plans, targets
    planned = after.target(new.key)
    recipe, prefix = seen.recipes[spec.key], spec.config_map.key_prefix or ""
    return TargetOutlook(
        key=old.key,
        before=before.target(old.key),
        after=planned,
        pods_before=_desired(old),
        pods_after=_desired(new),
        each=new.bounds.cost(_largest(planned)),
        maximum=_desired(new) if new.workload is None else new.workload.maximum(),
        at_maximum=None,
        config_map=spec.config_map_name,
        pods=old.pods,
        data={} if planned.sizes is None else rendered(recipe, planned.sizes, (prefix,)),
    )


def _largest(planned: TargetPlan) -> int:
    """The largest cap that any of its pods gets."""
    start = 0 if planned.sizes is None else planned.sizes.cap
    return max((share.sizes.cap for share in planned.shares), default=start)


def _sum_after(target: Target, planned: TargetPlan) -> tuple[int, str]:
    """Pods that run keep what they hold, and those that are still to come read what is published."""
    new = max(0, _desired(target) - sum(pod.stage is not PodStage.TERMINATING for pod in target.pods))
    words = planned.arithmetic.rsplit(" = ", 1)[0]
    gone = len(target.pods) - _desired(target)
    if gone > 0 and target.workload is not None:
        words = f"{words} ({gone} of them until they have ended)"
    if planned.sizes is None or not new:
        return planned.allocated, words
    each = target.bounds.cost(planned.sizes.cap)
    more = f"{new} new x {each}"
    return planned.allocated + new * each, f"{words} + {more}" if target.pods else more


def _formula_cap(usable: int | None, inputs: Inputs) -> int:
    """Usable divided by all pools that run, as people calculate by hand; at least 1."""
    pools = sum(_desired(target) * target.bounds.pools_per_pod for target in inputs.targets)
    return 0 if usable is None or not pools else max(1, usable // pools)


def _formula(old: Target, new: Target, cap_before: int, cap_after: int) -> tuple[int, str]:
    """The plain formula: running pods keep the size that they started with, and new ones get theirs."""
    stay = min(_desired(old), _desired(new))
    added = _desired(new) - stay
    before, after = old.bounds.cost(cap_before), new.bounds.cost(cap_after)
    words = f"{stay} x {before}" + (f" + {added} new x {after}" if added else "")
    return stay * before + added * after, words


def _in_words(parts: list[tuple[int, str]]) -> str:
    total = sum(connections for connections, _ in parts)
    return f"{' + '.join(words for _, words in parts)} = {total}"


def to_data(found: Outlook) -> dict[str, Any]:
    """As JSON and YAML say it."""
    return {
        "name": found.name,
        "namespace": found.namespace,
        "endpoint": found.endpoint,
        "capacitySource": found.source,
        "usable": found.usable,
        "arithmetic": found.arithmetic,
        "fits": found.fits,
        "exclusive": found.alone.is_true,
        "sumBefore": found.sum_before,
        "sumAfter": found.sum_after,
        "sum": found.sum_in_words,
        "formula": {"connections": found.formula, "sum": found.formula_in_words},
        "rollout": {"worst": found.rollout_worst, "safeMaxSurge": found.safe_max_surge},
        "atMaximum": {
            "pods": found.expected_pods,
            "floors": found.floor_sum,
            "feasible": found.feasible,
            "maxPods": found.max_pods,
        },
        "targets": [_target_data(item) for item in found.targets],
        "findings": [item.to_status() for item in found.findings],
    }


def _sizes(sizes: PoolSizes | None) -> dict[str, int] | None:
    return None if sizes is None else {"poolSize": sizes.pool_size, "maxOverflow": sizes.max_overflow}


def _target_data(item: TargetOutlook) -> dict[str, Any]:
    before, after = item.before.sizes, item.after.sizes
    return {
        "kind": item.key.kind,
        "name": item.key.name,
        "podsBefore": item.pods_before,
        "podsAfter": item.pods_after,
        "before": _sizes(before),
        "after": _sizes(after),
        "connectionsPerPod": item.each,
        "maxReplicas": item.maximum,
        "capAtMaximum": item.at_maximum,
        "configMap": {"name": item.config_map, "data": item.data},
        "pods": [
            {"name": pod.name, "connections": pod.charge.connections, "why": pod.charge.basis}
            for pod in item.pods
            if pod.charge.basis
        ],
    }
