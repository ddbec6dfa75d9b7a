"""The ConfigMap that a target's pods read: how it is made, read back and recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass

from poolbudget.cluster.api import Object
from poolbudget.planning.inputs import PoolSizes, TargetKey, UpdateMode
from poolbudget.resource import API_VERSION, GROUP, KIND
from poolbudget.resource.spec import PoolBudgetSpec, TargetSpec

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "poolbudget"
BUDGET = f"{GROUP}/budget"
TARGET = f"{GROUP}/target"
KEY_PREFIXES = f"{GROUP}/key-prefixes"
PUBLISHED = f"{GROUP}/published"

# A reloader would turn each new size into a rollout, the moment in which connections are scarcest.
_RELOADER = {"reloader.stakater.com/ignore": "true"}

# Refused wherever the object exists, since no object has this version (see Api.apply).
_MUST_NOT_EXIST = "1"

_NUMBER = re.compile(r"[0-9]{1,6}")
_PREFIX = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,62})?")


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
    """What a ConfigMap of a target shall say.

    `key_prefixes` holds the present one and all former ones: a pod of an older template that restarts
    must find the keys that it refers to.
    """

    name: str
    target: TargetKey
    key_prefixes: tuple[str, ...]
    sizes: PoolSizes
    owned: bool

    @property
    def data(self) -> dict[str, str]:
        """Keys as pods read them from their environment."""
        data: dict[str, str] = {}
        for prefix in self.key_prefixes:
            data[f"{prefix}POOL_SIZE"] = str(self.sizes.pool_size)
            data[f"{prefix}MAX_OVERFLOW"] = str(self.sizes.max_overflow)
        return data


def owner(manifest: Object) -> str | None:
    """The PoolBudget that writes a ConfigMap; None for a ConfigMap of somebody else.

    Where the labels were removed by hand, the API server's record of who applied what still tells.
    """
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    name: str = labels.get(BUDGET) or ""
    if name and labels.get(MANAGED_BY) == MANAGER:
        return name
    for entry in metadata.get("managedFields") or []:
        manager: str = entry.get("manager", "")
        if entry.get("operation") == "Apply" and manager.startswith(f"{MANAGER}/"):
            return manager.removeprefix(f"{MANAGER}/")
    return None


def published_sizes(manifest: Object) -> PoolSizes | None:
    """What we published last; None where the record is lost or no longer makes sense."""
    annotations = manifest["metadata"].get("annotations") or {}
    pool_size, _, max_overflow = annotations.get(PUBLISHED, "").partition("/")
    if not (_NUMBER.fullmatch(pool_size) and _NUMBER.fullmatch(max_overflow)) or int(pool_size) < 1:
        return None
    return PoolSizes(int(pool_size), int(max_overflow))


def target_of(manifest: Object) -> TargetKey | None:
    """The target that a ConfigMap of ours was written for."""
    annotations = manifest["metadata"].get("annotations") or {}
    kind, _, name = annotations.get(TARGET, "").partition("/")
    return TargetKey(kind, name) if kind and name else None


def key_prefixes_of(manifest: Object) -> tuple[str, ...]:
    """The key prefixes that a ConfigMap of ours was written with; one that makes no sense is left out."""
    annotations = manifest["metadata"].get("annotations") or {}
    text: str | None = annotations.get(KEY_PREFIXES)
    if text is None:
        return ()
    return tuple(prefix for prefix in text.split(",") if _PREFIX.fullmatch(prefix))


def wanted(
    spec: PoolBudgetSpec, target: TargetSpec, sizes: PoolSizes, live: dict[str, Object]
) -> list[WantedConfigMap]:
    """The target's ConfigMap, and those it had under other names.

    An older name is kept up to date and never removed: pods and templates may still refer to it, and
    without it their next container start would wait for ever.
    """
    if target.update_mode is UpdateMode.OFF:
        return []
    owned = spec.deletion_policy == "Delete"
    name = target.config_map_name
    former = key_prefixes_of(live[name]) if name in live else ()
    prefixes = tuple(sorted({target.config_map.key_prefix or "", *former}))
    result = [WantedConfigMap(name, target.key, prefixes, sizes, owned)]
    current_names = {item.config_map_name for item in spec.targets}
    for name, manifest in live.items():
        if name not in current_names and target_of(manifest) == target.key:
            older = key_prefixes_of(manifest) or ("",)
            result.append(WantedConfigMap(name, target.key, older, sizes, owned))
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
        KEY_PREFIXES: ",".join(wanted_map.key_prefixes),
        **_RELOADER,
    }
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
