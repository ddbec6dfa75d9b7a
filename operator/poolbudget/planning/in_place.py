"""Shares of pods that follow them while they run: what each is charged, and what it is to be told.

A pod is told a share by a revision that only grows, and says in the database which revision all of its
pools have applied. Until then it may hold what it was told before; so it is charged the most of what it may
have applied (docs/safety.md has the traces).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from poolbudget.planning.inputs import Applied, Charge, Pod, PodCost, PodShare, PodStage, PoolSizes, Target
from poolbudget.planning.shares import Claim, Group
from poolbudget.planning.sizes import split_whole

PATIENCE = 10.0
"""Seconds after which a pod that has not said that it applied its share is not counted on any more."""

FIRST_TOUCH = 1.0
"""Seconds after which an annotation that was not obeyed is written once more."""

_LAST_TOUCH = 60.0
_MOST_DOUBLINGS = 6

ONE_POOL = PodCost(1, 0)
"""What a pod costs unless somebody says otherwise."""

MOST_EARLIER = 6
"""Earlier shares that are told apart in one annotation."""


@dataclass(frozen=True, slots=True)
class Told:
    """A share that a pod was told: each of its pools may open `cap` connections."""

    revision: int
    cap: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What a pod's annotation says: its share, and what it may hold beside that.

    `sizes` are told by `revision` since `time` (seconds since 1970). `earlier` are former shares, oldest
    first, of which none was known to be superseded when this was written; `charged` are the connections
    that the pod may have held before those. `touched` counts how often the same was written again. `cost` is
    what the pod cost when it was told.
    """

    revision: int
    sizes: PoolSizes
    time: float
    charged: int
    earlier: tuple[Told, ...] = ()
    touched: int = 0
    cost: PodCost = ONE_POOL

    @property
    def told(self) -> tuple[Told, ...]:
        """All shares that the pod may obey, the present one last."""
        return (*self.earlier, Told(self.revision, self.sizes.cap))


def is_acknowledged(grant: Grant, applied: Applied) -> bool:
    """Whether all pools have applied the present share.

    A revision that was never told is no acknowledgement: nobody knows what it stands for.
    """
    return applied.revision == grant.revision


def in_place_charge(
    grant: Grant | None, initial: Charge, applied: Applied, cost: PodCost, restarted: int = 0
) -> Charge:
    """What a pod may open that follows its share; `initial` is its charge by what it read at its start.

    Before it was told anything it says with which cap it started: then it is charged that, or `restarted`
    connections, the most by what a container reads that starts about now.
    What is seen open in the database counts in any case: a process that was killed leaves connections
    behind, which run on beside those of its successor.
    """
    if grant is None and applied.revision == 0:
        held = max(cost.at(applied.cap), restarted)
        basis = f"started with {held}"
    elif grant is None:
        held = max(initial.connections, cost.at(applied.cap) if applied.cap else 0)
        basis = initial.basis
    else:
        held, basis = _may_obey(grant, initial, applied, cost)
    seen = applied.connections + cost.extra if applied.connections else 0
    if seen > held:
        held, basis = seen, f"{applied.connections} connections seen"
    return Charge(held, min(initial.certain, held), None, basis)


def _may_obey(grant: Grant, initial: Charge, applied: Applied, cost: PodCost) -> tuple[int, str]:
    """The most of what a pod may have applied, and why."""
    since = still_obeyed(grant, applied)
    if since is not None:
        most = cost.at(max(told.cap for told in since))
        word = "applied" if len(since) == 1 else "told, and not yet applied by all,"
        return most, f"{word} {most}"
    largest = max(*(told.cap for told in grant.told), applied.cap)
    most = max(initial.connections, grant.charged, cost.at(largest))
    return most, f"has applied nothing that is known, may hold {most}"


def still_obeyed(grant: Grant, applied: Applied) -> tuple[Told, ...] | None:
    """The shares that some pool may obey: the last that all have applied, and everything told since.

    An acknowledgement of an older share than the newest says nothing of those in between: one that was told
    after it may have been applied, and not yet be seen. None where nothing of what was told is known to be
    applied by all; nor does a revision count that was never told.
    """
    if applied.revision is None or applied.revision > grant.revision:
        return None
    superseded = [told.revision for told in grant.told if told.revision <= applied.revision]
    if not superseded:
        return None
    return tuple(told for told in grant.told if told.revision >= superseded[-1])


def next_grant(
    grant: Grant | None,
    charge: Charge,
    applied: Applied,
    revision: int,
    sizes: PoolSizes,
    now: float,
    cost: PodCost = ONE_POOL,
) -> Grant:
    """What to write into a pod's annotation to tell it a share.

    What it may hold until then stays in it: a new operator, or one that has lost sight of the database,
    has nothing else to go by.
    """
    if grant is None:
        return Grant(revision, sizes, now, charge.connections, cost=cost)
    earlier = still_obeyed(grant, applied) or grant.told
    surplus, kept = earlier[:-MOST_EARLIER], earlier[-MOST_EARLIER:]
    if surplus:
        # One that stands for all of them: as old as the oldest, as large as the largest.
        most = max(told.cap for told in (*surplus, kept[0]))
        kept = (Told(kept[0].revision, most), *kept[1:])
    return Grant(revision, sizes, now, charge.connections, kept, cost=cost)


def touch_due(grant: Grant) -> float:
    """When to write an annotation once more that nobody has obeyed (seconds since 1970).

    Kubelets lose a refresh now and then: after 1, 2, 4 and so on seconds, then every minute.
    """
    doublings = min(grant.touched, _MOST_DOUBLINGS)
    return grant.time + FIRST_TOUCH * float(2**doublings) + _LAST_TOUCH * (grant.touched - doublings)


def touches_until(grant: Grant, now: float) -> int:
    """How often an annotation would have been written by now: what was missed is not made up for."""
    long_after = now - grant.time - FIRST_TOUCH * 2**_MOST_DOUBLINGS
    if long_after < 0:
        return grant.touched + 1
    return max(grant.touched + 1, _MOST_DOUBLINGS + 1 + int(long_after / _LAST_TOUCH))


def pod_share(
    grant: Grant | None, applied: Applied, seen: float | None, cost: PodCost, *, has_started: bool = True
) -> PodShare:
    """What the planner is told of a pod that follows its share.

    `seen` is when the database was looked at last (seconds since 1970), None where nobody has.
    """
    if grant is None:
        return PodShare(None, applied.revision == 0, False, applied, cost)
    is_stuck = has_started and is_pinned(grant, applied, seen)
    return PodShare(grant.sizes, is_acknowledged(grant, applied), is_stuck, applied, cost)


def is_pinned(grant: Grant, applied: Applied, seen: float | None) -> bool:
    """Whether a pod should have applied its share long ago, as the database was `seen`.

    What it holds is taken as given then, and others' shares are dealt around it: else what it does not
    give up would be missing, or everybody's share would change again and again. While nobody can look
    nobody has failed to answer.
    """
    return seen is not None and seen >= grant.time + PATIENCE and not is_acknowledged(grant, applied)


@dataclass(frozen=True, slots=True)
class PodPlan:
    """What a pod is to be told, and the cap that it is to have in the end.

    `told` is what it was told, and `before` the cap that it has at least: anything above that is a raise.
    """

    uid: str
    name: str
    sizes: PoolSizes
    final_cap: int
    told: PoolSizes | None
    is_acknowledged: bool
    is_pinned: bool
    before: int
    cost: PodCost
    must_be_told: bool = True

    @property
    def is_new(self) -> bool:
        """Whether it was told nothing yet."""
        return self.told is None

    @property
    def changes(self) -> bool:
        """Whether it has to be told something; a new one that has what it is to have does not."""
        return self.must_be_told if self.told is None else self.sizes != self.told

    @property
    def waits_to_grow(self) -> bool:
        """Whether it could be told more, once others have given it up."""
        return not self.is_pinned and self.sizes.cap < self.final_cap


def final_claims(target: Target, missing: int, limit: int, load: float | None = None) -> list[Claim]:
    """The claims of a target's pods in the end: what they hold beyond their share does not count.

    In the order of `adjustable`; the last ones stand for `missing` pods that are asked for and not there.
    `load` is what each pool has in use, None where shares do not go by that.
    """
    bounds = target.bounds
    if not target.is_in_place:
        return []
    claims = [
        Claim(bounds.floor, bounds.floor, bounds.weight, (), pod.charge.connections)
        if pod.share is not None and pod.share.is_pinned
        else Claim(bounds.floor, limit, bounds.weight, (Group(1, _cost(target, pod)),), load=load)
        for pod in adjustable(target)
    ]
    if missing:
        # One by one: their shares may differ by one as well.
        claims += [
            Claim(bounds.floor, limit, bounds.weight, (Group(1, bounds.pod_cost),), load=load)
        ] * missing
    return claims


def present_claims(target: Target, finals: Sequence[int], load: float | None = None) -> list[Claim]:
    """The claims of a target's pods as things are: what they hold is theirs until they say otherwise."""
    bounds = target.bounds
    claims = []
    for pod, final in zip(adjustable(target), finals, strict=False):
        told, cost = _told_cap(pod), _cost(target, pod)
        pinned = pod.share is not None and pod.share.is_pinned
        most = told if pinned else max(told, final)
        held = max(pod.charge.connections, cost.at(told))
        claims.append(Claim(told, most, bounds.weight, (Group(1, cost, held),), load=load))
    return claims


def pod_plans(
    target: Target, finals: Sequence[int], caps: Sequence[int], pool_size_percent: int, may_grow: bool
) -> tuple[PodPlan, ...]:
    """What each pod is to be told: less at once, more only where that fits now and `may_grow` is set.

    Without `finals` the capacity is unknown, and everybody keeps what he has. A pinned pod is told nothing.
    """
    if not target.is_in_place:
        return ()
    plans = []
    for position, pod in enumerate(adjustable(target)):
        share = pod.share or PodShare()
        told, cost = _told_cap(pod), _cost(target, pod)
        final = finals[position] if finals else told
        cap = told if share.is_pinned else min(final, caps[position] if may_grow and finals else told)
        sizes = share.told if share.is_pinned and share.told else split_whole(cap, pool_size_percent)
        plans.append(
            PodPlan(
                pod.uid,
                pod.name,
                sizes,
                final,
                share.told,
                share.is_acknowledged,
                share.is_pinned,
                told,
                cost,
                # One that may have read more, or is to have more, has to be told.
                must_be_told=sizes.cap > told or pod.charge.connections > cost.at(sizes.cap),
            )
        )
    return tuple(plans)


def adjustable(target: Target) -> list[Pod]:
    """The pods that can be told a share, those that were told most first.

    What rounding leaves is dealt in this order: whoever has one more than others keeps it.
    """
    pods = [pod for pod in target.pods if pod.is_adjustable] if target.is_in_place else []
    return sorted(pods, key=lambda pod: (-_told_cap(pod), pod.stage is PodStage.STARTING, pod.uid))


def _told_cap(pod: Pod) -> int:
    """The cap that a pod has at least: what it was told last, or says that it started with; else 1.

    Not what is published for starting pods now: that may have been raised since this one has started.
    """
    share = pod.share or PodShare()
    if share.told is not None:
        return share.told.cap
    return max(1, share.applied.cap) if share.applied.revision == 0 else 1


def _cost(target: Target, pod: Pod) -> PodCost:
    """What a pod costs by the workers of its time."""
    share = pod.share or PodShare()
    return target.bounds.pod_cost if share.cost is None else share.cost
