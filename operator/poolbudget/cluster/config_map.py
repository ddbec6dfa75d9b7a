"""The ConfigMap that a target's pods read: how it is made, read back and recognised."""

from __future__ import annotations

from dataclasses import dataclass

from poolbudget.cluster.api import Object
from poolbudget.planning.inputs import PoolSizes, TargetKey, UpdateMode
from poolbudget.resource import API_VERSION, GROUP, KIND
from poolbudget.resource.spec import PoolBudgetSpec, TargetSpec

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "poolbudget"
BUDGET = f"{GROUP}/budget"
TARGET = f"{GROUP}/target"
KEY_PREFIX = f"{GROUP}/key-prefix"
PUBLISHED = f"{GROUP}/published"

# A reloader would turn each new size into a rollout, the moment in which connections are scarcest.
_RELOADER = {"reloader.stakater.com/ignore": "true"}

# Refused wherever the object exists, since no object has this version (see Api.apply).
_MUST_NOT_EXIST = "1"


@dataclass(frozen=True, slots=True)
class BudgetReference:
    """Which PoolBudget writes."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def field_manager(self) -> str:
        """The name under which its fields are written."""
        return f"{MANAGER}/{self.name}"


@dataclass(frozen=True, slots=True)
class WantedConfigMap:
    """What a ConfigMap of a target shall say."""

    name: str
    target: TargetKey
    key_prefix: str
    sizes: PoolSizes
    owned: bool

    @property
    def data(self) -> dict[str, str]:
        """Keys as pods read them from their environment."""
        return {
            f"{self.key_prefix}POOL_SIZE": str(self.sizes.pool_size),
            f"{self.key_prefix}MAX_OVERFLOW": str(self.sizes.max_overflow),
        }


def is_ours(manifest: Object, budget: BudgetReference) -> bool:
    """Whether a ConfigMap is this PoolBudget's own."""
    return owner(manifest) == budget.name


def owner(manifest: Object) -> str | None:
    """The PoolBudget that writes a ConfigMap; None for a ConfigMap of somebody else."""
    labels = manifest["metadata"].get("labels") or {}
    if labels.get(MANAGED_BY) != MANAGER:
        return None
    name: str | None = labels.get(BUDGET)
    return name


def published_sizes(manifest: Object) -> PoolSizes | None:
    """What we published last; None where the record is lost or no longer makes sense."""
    annotations = manifest["metadata"].get("annotations") or {}
    pool_size, _, max_overflow = annotations.get(PUBLISHED, "").partition("/")
    if not (pool_size.isdecimal() and max_overflow.isdecimal()) or int(pool_size) < 1:
        return None
    return PoolSizes(int(pool_size), int(max_overflow))


def target_of(manifest: Object) -> TargetKey | None:
    """The target that a ConfigMap of ours was written for."""
    annotations = manifest["metadata"].get("annotations") or {}
    kind, _, name = annotations.get(TARGET, "").partition("/")
    return TargetKey(kind, name) if kind and name else None


def key_prefix_of(manifest: Object) -> str:
    """The key prefix that a ConfigMap of ours was written with."""
    annotations = manifest["metadata"].get("annotations") or {}
    prefix: str = annotations.get(KEY_PREFIX, "")
    return prefix


def wanted(
    spec: PoolBudgetSpec, target: TargetSpec, sizes: PoolSizes, live: dict[str, Object]
) -> list[WantedConfigMap]:
    """The target's ConfigMap, and those it had under other names.

    An older name is kept up to date and never removed: pods and templates may still refer to it, and
    without it their next container start would wait for ever.
    """
    if target.update_mode is UpdateMode.OFF:
        return []
    key = TargetKey(target.kind, target.name)
    owned = spec.deletion_policy == "Delete"
    prefix = target.config_map.key_prefix or ""
    result = [WantedConfigMap(target.config_map_name, key, prefix, sizes, owned)]
    current_names = {item.config_map_name for item in spec.targets}
    for name, manifest in live.items():
        if name not in current_names and target_of(manifest) == key:
            result.append(WantedConfigMap(name, key, key_prefix_of(manifest), sizes, owned))
    return result


def differs(wanted_map: WantedConfigMap, budget: BudgetReference, live: Object | None) -> bool:
    """Whether a write would change anything."""
    if live is None:
        return True
    manifest = to_manifest(wanted_map, budget, live)
    have, want = live["metadata"], manifest["metadata"]
    labels, annotations = have.get("labels") or {}, have.get("annotations") or {}
    same = (
        want["labels"].items() <= labels.items()
        and want["annotations"].items() <= annotations.items()
        and manifest["data"].items() <= (live.get("data") or {}).items()
        and bool(want.get("ownerReferences")) == _is_owned(have, budget)
        and bool(annotations.get(KEY_PREFIX)) == bool(wanted_map.key_prefix)
    )
    return not same


def _is_owned(metadata: Object, budget: BudgetReference) -> bool:
    return any(item.get("uid") == budget.uid for item in metadata.get("ownerReferences") or [])


def to_manifest(wanted_map: WantedConfigMap, budget: BudgetReference, live: Object | None) -> Object:
    """The manifest to apply. It only goes through if nobody has written since `live` was read."""
    version = _MUST_NOT_EXIST if live is None else live["metadata"]["resourceVersion"]
    annotations = {
        TARGET: str(wanted_map.target),
        PUBLISHED: str(wanted_map.sizes),
        **_RELOADER,
    }
    if wanted_map.key_prefix:
        annotations[KEY_PREFIX] = wanted_map.key_prefix
    metadata: Object = {
        "name": wanted_map.name,
        "namespace": budget.namespace,
        "resourceVersion": version,
        "labels": {MANAGED_BY: MANAGER, BUDGET: budget.name},
        "annotations": annotations,
    }
    if wanted_map.owned:
        reference = {"apiVersion": API_VERSION, "kind": KIND, "name": budget.name, "uid": budget.uid}
        metadata["ownerReferences"] = [reference]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": wanted_map.data}
