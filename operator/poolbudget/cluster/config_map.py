"""The ConfigMap that a target's pods read: how it is made, read back and recognised."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from typing import Any

from poolbudget.cluster.api import MANAGER, Object
from poolbudget.planning import history as past
from poolbudget.planning.history import Entry, History
from poolbudget.planning.inputs import PodCost, PoolSizes, TargetKey, UpdateMode
from poolbudget.recipes.render import MAX_OVERFLOW, POOL_SIZE, Recipe, rendered, size_keys
from poolbudget.resource import API_VERSION, GROUP, KIND
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.target import TargetSpec
from poolbudget.resource.times import seconds

MANAGED_BY = "app.kubernetes.io/managed-by"
BUDGET = f"{GROUP}/budget"
TARGET = f"{GROUP}/target"
KEY_PREFIXES = f"{GROUP}/key-prefixes"
PUBLISHED = f"{GROUP}/published"
HISTORY = f"{GROUP}/history"
CLAIM = f"{GROUP}/claim"
SIZE_KEYS = f"{GROUP}/size-keys"

# A reloader would turn each new size into a rollout, the moment in which connections are scarcest.
_RELOADER = {"reloader.stakater.com/ignore": "true"}

# Refused wherever the object exists, since no object has this version (see Api.apply).
_MUST_NOT_EXIST = "1"

_FUTURE = 60.0
"""Seconds by which a record may be ahead of our clock before it is not believed."""

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
    """What a ConfigMap of a target shall say; `cost` is what a pod costs that reads it.

    `key_prefixes` holds the present one and all former ones: a pod of an older template that restarts
    must find the keys that it refers to.
    """

    name: str
    target: TargetKey
    key_prefixes: tuple[str, ...]
    sizes: PoolSizes
    cost: PodCost
    owned: bool
    recipe: Recipe

    @property
    def data(self) -> dict[str, str]:
        """Keys as pods read them from their environment."""
        return rendered(self.recipe, self.sizes, self.key_prefixes)

    @property
    def other_size_keys(self) -> str | None:
        """The keys beside ours that say how large a pool may be, as an annotation keeps them."""
        found = size_keys(self.recipe, self.sizes, self.key_prefixes)
        return json.dumps(found, sort_keys=True, separators=(",", ":")) if found else None


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


def readable_sizes(manifest: Object) -> PoolSizes | None:
    """What a starting container reads now, whoever wrote it; of several prefixes the largest.

    None where that is no size: no number, or a pool_size of 0, which SQLAlchemy reads as "no limit".
    """
    data = manifest.get("data") or {}
    found = []
    for prefix in key_prefixes_of(manifest) or ("",):
        texts = data.get(f"{prefix}{POOL_SIZE}", ""), data.get(f"{prefix}{MAX_OVERFLOW}", "")
        if not all(_NUMBER.fullmatch(text) for text in texts) or int(texts[0]) < 1:
            return None
        found.append(PoolSizes(int(texts[0]), int(texts[1])))
    return max(found, key=lambda sizes: sizes.cap)


def history_of(
    manifest: Object, budget: BudgetReference, now: float, recipe: Recipe | None = None
) -> History:
    """What the ConfigMap has said; a lost history where the record is not to be trusted.

    What somebody else wrote into the data is part of it: containers may have read that. `recipe` is what
    the ConfigMap is to say now.
    """
    history = _recorded(manifest)
    current, readable = history.current, readable_sizes(manifest)
    if current is None or any(
        max(entry.since, entry.until or 0.0) > now + _FUTURE for entry in history.entries
    ):
        return History()
    arrival = _last_written(manifest, budget)
    if arrival is not None:
        history = past.arrived(history, arrival)
    is_as_written = _other_sizes_are_as_written(manifest, recipe)
    if readable is not None and readable.cap == current.cap and is_as_written:
        return history
    cap = readable.cap if readable is not None and is_as_written else past.UNKNOWN
    since = max(current.since, _edited_since(manifest, budget) or current.since)
    return History((*history.entries, Entry(current.revision, cap, current.cost, since)))


def _other_sizes_are_as_written(manifest: Object, recipe: Recipe | None) -> bool:
    """Whether the keys for other pools still say what we wrote; nobody knows what an edited one gives."""
    text = (manifest["metadata"].get("annotations") or {}).get(SIZE_KEYS)
    data = manifest.get("data") or {}
    try:
        recorded = json.loads(text) if text else {}
        expected = (
            set() if recipe is None else size_keys(recipe, PoolSizes(1, 0), key_prefixes_of(manifest)).keys()
        )
        is_complete = not (expected & data.keys()) - recorded.keys()
        return is_complete and all(data.get(key) == value for key, value in recorded.items())
    except (ValueError, AttributeError, TypeError, RecursionError):
        return False


def _edited_since(manifest: Object, budget: BudgetReference) -> float | None:
    """When somebody else first wrote data that are theirs now; None where nobody is known to have."""
    times = [
        seconds(entry.get("time"))
        for entry in manifest["metadata"].get("managedFields") or []
        if entry.get("manager") != budget.field_manager and "f:data" in (entry.get("fieldsV1") or {})
    ]
    return min((time for time in times if time is not None), default=None)


def _recorded(manifest: Object) -> History:
    annotations = manifest["metadata"].get("annotations") or {}
    try:
        entries = tuple(_entry(item) for item in json.loads(annotations.get(HISTORY, "[]")))
    except (ValueError, TypeError, RecursionError):
        return History()
    in_order = all(before.since <= after.since for before, after in itertools.pairwise(entries))
    is_closed = all(entry.until is not None for entry in entries[:-2])
    is_open = bool(entries) and entries[-1].until is None
    return History(entries) if in_order and is_closed and is_open else History()


def _entry(item: Any) -> Entry:
    """An entry as it stands in the annotation. Raises ValueError or TypeError."""
    revision, cap, pools, extra, since, until = item
    numbers = (revision, cap, pools, extra)
    times = (since,) if until is None else (since, until)
    if not all(isinstance(number, int) and 0 <= number < 2**53 for number in numbers):
        raise ValueError("not a history")
    if not all(isinstance(time, int | float) and 0 <= time < 2**53 for time in times):
        raise ValueError("not a history")
    return Entry(revision, cap, PodCost(pools, extra), since, until)


def _last_written(manifest: Object, budget: BudgetReference) -> float | None:
    """The API server's time of our last write, rounded up; None where it keeps no record of it."""
    time = seconds(_our_record(manifest["metadata"], budget).get("time"))
    return None if time is None else time + 1.0


def _our_record(metadata: Object, budget: BudgetReference) -> Object:
    """The API server's record of what we applied and when; empty where it keeps none."""
    for entry in metadata.get("managedFields") or []:
        if entry.get("operation") == "Apply" and entry.get("manager") == budget.field_manager:
            found: Object = entry
            return found
    return {}


def _history_text(history: History) -> str:
    return json.dumps(
        [
            [
                entry.revision,
                entry.cap,
                entry.cost.pools,
                entry.cost.extra,
                round(entry.since, 3),
                None if entry.until is None else round(entry.until, 3),
            ]
            for entry in history.entries
        ],
        separators=(",", ":"),
    )


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
    spec: PoolBudgetSpec, target: TargetSpec, recipe: Recipe, sizes: PoolSizes, live: dict[str, Object]
) -> list[WantedConfigMap]:
    """The target's ConfigMap, and those it had under other names.

    An older name is kept up to date and never removed: pods and templates may still refer to it, and
    without it their next container start would wait for ever.
    """
    if target.update_mode is UpdateMode.OFF:
        return []
    owned = spec.deletion_policy == "Delete"
    name, cost = target.config_map_name, target.bounds.pod_cost
    former = key_prefixes_of(live[name]) if name in live else ()
    prefixes = tuple(sorted({target.config_map.key_prefix or "", *former}))
    result = [WantedConfigMap(name, target.key, prefixes, sizes, cost, owned, recipe)]
    current_names = {item.config_map_name for item in spec.targets}
    for name, manifest in live.items():
        if name not in current_names and target_of(manifest) == target.key:
            older = key_prefixes_of(manifest) or ("",)
            result.append(WantedConfigMap(name, target.key, older, sizes, cost, owned, recipe))
    return result


def differs(wanted_map: WantedConfigMap, budget: BudgetReference, live: Object | None) -> bool:
    """Whether a write would change anything."""
    if live is None:
        return True
    current = _recorded(live).current
    if current is None or (current.cap, current.cost) != (wanted_map.sizes.cap, wanted_map.cost):
        return True
    have = live["metadata"]
    labels, annotations = have.get("labels") or {}, have.get("annotations") or {}
    data = wanted_map.data
    same = (
        _labels(budget).items() <= labels.items()
        and _annotations(wanted_map).items() <= annotations.items()
        and data.items() <= (live.get("data") or {}).items()
        and annotations.get(SIZE_KEYS) == wanted_map.other_size_keys
        and _keys_of_ours(have, budget) <= data.keys()
        and wanted_map.owned == _is_owned(have, budget)
    )
    return not same


def _keys_of_ours(metadata: Object, budget: BudgetReference) -> set[str]:
    """The keys that are there because we wrote them: one that is wanted no longer must go."""
    fields = (_our_record(metadata, budget).get("fieldsV1") or {}).get("f:data") or {}
    return {name.removeprefix("f:") for name in fields if name.startswith("f:")}


def _is_owned(metadata: Object, budget: BudgetReference) -> bool:
    return any(item.get("uid") == budget.uid for item in metadata.get("ownerReferences") or [])


def _labels(budget: BudgetReference) -> dict[str, str]:
    return {MANAGED_BY: MANAGER, BUDGET: budget.name}


def _annotations(wanted_map: WantedConfigMap) -> dict[str, str]:
    return {
        TARGET: str(wanted_map.target),
        PUBLISHED: str(wanted_map.sizes),
        KEY_PREFIXES: ",".join(wanted_map.key_prefixes),
        **_RELOADER,
    }


def to_manifest(
    wanted_map: WantedConfigMap,
    budget: BudgetReference,
    live: Object | None,
    history: History,
    claim: int,
) -> Object:
    """The manifest to apply. It only goes through if nobody has written since `live` was read.

    `history` already includes what is written now; `claim` is the ledger's, so that a write which says
    nothing new is one all the same.
    """
    version = _MUST_NOT_EXIST if live is None else live["metadata"]["resourceVersion"]
    annotations = {
        **_annotations(wanted_map),
        **({} if wanted_map.other_size_keys is None else {SIZE_KEYS: wanted_map.other_size_keys}),
        HISTORY: _history_text(history),
        CLAIM: str(claim),
    }
    metadata: Object = {
        "name": wanted_map.name,
        "namespace": budget.namespace,
        "resourceVersion": version,
        "labels": _labels(budget),
        "annotations": annotations,
    }
    if wanted_map.owned:
        reference = {"apiVersion": API_VERSION, "kind": KIND, "name": budget.name, "uid": budget.uid}
        metadata["ownerReferences"] = [reference]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": wanted_map.data}
