"""What one reconcile has seen of a PoolBudget and its surroundings."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from poolbudget.capacity.limits import Usable
from poolbudget.capacity.reading import KnownCapacity, Reading
from poolbudget.cluster.api import Object
from poolbudget.cluster.config_map import BudgetReference
from poolbudget.cluster.in_place import Sight, grant_of
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.planning.demand import Demand
from poolbudget.planning.history import History
from poolbudget.planning.in_place import Grant
from poolbudget.planning.inputs import Charge, Inputs, TargetKey
from poolbudget.planning.ledger import Ledger, LostPod, next_revision
from poolbudget.recipes.render import Recipe
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.target import TargetSpec


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another PoolBudget on the same server, and the targets that both bind.

    `name` is for people. `share` is its percent of the server, None where it has none. `held` is what its
    pods may open and `held_on_server` what comes of that on the server, None before anybody has looked.
    `is_same_endpoint`: both connect to the same host and port.
    """

    name: str
    shared_targets: tuple[TargetKey, ...]
    namespace: str = ""
    budget: str = ""
    share: int | None = None
    held: int | None = None
    held_on_server: int | None = None
    is_same_endpoint: bool = True


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another PoolBudget of the same pods, on another server: a replica's primary, or the other way round."""

    name: str
    max_connections: int
    is_replica: bool


@dataclass(frozen=True)
class Observed:
    """One PoolBudget and its surroundings at one moment.

    `live` holds this budget's ConfigMaps by name, `foreign` those that stand where one of ours
    should, with the PoolBudget that writes them (None: not a PoolBudget's). `histories` says what each
    of the live ones has told so far, and `needed_after` from when on that matters to any pod (seconds
    since 1970; None where pods may have been missed). `now` is when the looking began, and `changes_at`
    when a charge falls next without any event. From `readable_by_all` on every kubelet sees what is
    published now, and `oldest_pod` is since when the oldest pod has existed. `pods` are those that follow a
    share, by uid, and `sight` is what they say of themselves. `demands` are the targets' loads, where
    shares go by those.
    """

    reference: BudgetReference
    manifest: Object
    spec: PoolBudgetSpec
    reading: Reading
    capacity: KnownCapacity | None
    usable: Usable | None
    ledger: Ledger
    inputs: Inputs
    manifests: Mapping[TargetKey, Object | None]
    recipes: Mapping[TargetKey, Recipe]
    live: Mapping[str, Object]
    foreign: Mapping[str, str | None]
    histories: Mapping[str, History]
    neighbours: tuple[Neighbour, ...]
    siblings: tuple[Sibling, ...]
    lost: tuple[LostPod, ...]
    now: float
    readable_by_all: float = 0.0
    changes_at: float | None = None
    oldest_pod: float | None = None
    needed_after: float | None = None
    pods: Mapping[str, PodRecord] = field(default_factory=dict)
    sight: Sight = field(default_factory=Sight)
    demands: Mapping[TargetKey, Demand] = field(default_factory=dict)

    @property
    def generation(self) -> int:
        """Generation of the spec that was read."""
        generation: int = self.manifest["metadata"]["generation"]
        return generation

    @property
    def version(self) -> str:
        """The resourceVersion of the PoolBudget, and so of the ledger in its status."""
        version: str = self.manifest["metadata"]["resourceVersion"]
        return version

    def next_revision(self, now: float) -> int:
        """A number that was never used before."""
        seen = max((grant.revision for grant in self.grants.values()), default=0)
        return next_revision(self.ledger, self.histories.values(), now, max(seen, self.sight.newest(now)))

    def acknowledged(self) -> dict[str, int]:
        """The revision that all pools of each pod are known to have applied, by uid."""
        found = {}
        for target in self.inputs.targets:
            for pod in target.pods:
                grant = self.grants.get(pod.uid)
                revision = None if pod.share is None else pod.share.applied.revision
                if grant is not None and revision is not None and revision <= grant.revision:
                    found[pod.uid] = revision
        return found

    @functools.cached_property
    def charges(self) -> Mapping[str, Charge]:
        """The charge of each pod, by uid."""
        return {pod.uid: pod.charge for target in self.inputs.targets for pod in target.pods}

    @functools.cached_property
    def grants(self) -> Mapping[str, Grant]:
        """What each pod was told that follows a share, by uid."""
        found = ((uid, grant_of(record, self.reference.name, self.now)) for uid, record in self.pods.items())
        return {uid: grant for uid, grant in found if grant is not None}

    @property
    def missing(self) -> list[TargetKey]:
        """Targets whose workload does not exist."""
        return [key for key, manifest in self.manifests.items() if manifest is None]

    def target_spec(self, key: TargetKey) -> TargetSpec | None:
        """The spec's words about a target; None for a former one."""
        return next((item for item in self.spec.targets if item.key == key), None)


class InvalidSpecError(Exception):
    """The API server holds a spec that this operator does not understand."""


def reference(manifest: Object) -> BudgetReference:
    """Which PoolBudget a manifest is."""
    metadata = manifest["metadata"]
    return BudgetReference(metadata["namespace"], metadata["name"], metadata["uid"])


def parse_spec(manifest: Object) -> PoolBudgetSpec:
    """The spec as models. Raises InvalidSpecError with the first complaints."""
    try:
        return PoolBudgetSpec.model_validate(manifest.get("spec"))
    except ValidationError as error:
        complaints = [
            f"spec.{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
        ]
        raise InvalidSpecError("; ".join(complaints[:3])) from None
