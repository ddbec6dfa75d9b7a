"""The arithmetic of a plan in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from poolbudget.planning.inputs import PodStage, PoolSizes, Target

_MOST_TERMS = 6


def target_in_words(target: Target, sizes: PoolSizes | None, allocated: Sequence[int]) -> str:
    """How a target's sum came about, such as `3 pods x (35 + 15) = 150`.

    `allocated` is what each of its pods may open, in the order of `target.pods`.
    """
    if sizes is None and not allocated:
        return "nothing is published before the capacity is known"
    told = None if sizes is None else target.bounds.cost(sizes.cap)
    terms: Counter[tuple[int, str]] = Counter()
    for pod, connections in zip(target.pods, allocated, strict=True):
        terms[connections, _apart(pod.stage, pod.has_node)] += 1
    ordered = sorted(terms.items(), reverse=True)
    words = [
        f"{count} pod{'s' if count != 1 else ''}{kind} x "
        f"{_each(target, sizes) if sizes is not None and connections == told else connections}"
        for (connections, kind), count in ordered[:_MOST_TERMS]
    ]
    rest = ordered[_MOST_TERMS:]
    if rest:
        pods = sum(count for _, count in rest)
        words.append(f"{pods} pods of others {sum(count * term[0] for term, count in rest)}")
    if not words:
        words = [f"0 pods x {_each(target, sizes)}" if sizes is not None else "0 pods"]
    return f"{' + '.join(words)} = {sum(allocated)}"


def sum_in_words(parts: Sequence[int]) -> str:
    """The sum over targets, such as `150 + 12 = 162`."""
    total = sum(parts)
    return f"{' + '.join(str(part) for part in parts)} = {total}" if len(parts) > 1 else str(total)


def _apart(stage: PodStage, has_node: bool) -> str:
    if not has_node:
        return " without a node"
    return f" {stage.value.lower()}" if stage in (PodStage.TERMINATING, PodStage.LOST) else ""


def _each(target: Target, sizes: PoolSizes) -> str:
    bounds = target.bounds
    each = f"({sizes.pool_size} + {sizes.max_overflow})"
    if bounds.pools_per_pod > 1:
        each = f"{bounds.workers} workers x {bounds.pools_per_worker} pools x {each}"
    if bounds.extra_connections:
        each = f"({each} + {bounds.extra_connections} extra)"
    return each
