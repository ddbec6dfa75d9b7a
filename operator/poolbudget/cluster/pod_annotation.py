"""The annotation by which a pod is told its share: how it is written, read back and recognised.

A downward-API volume makes a file of it, which the kubelet refreshes a moment after it has changed; the
client library follows that file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from poolbudget.cluster.api import Object
from poolbudget.planning.in_place import Grant, Told
from poolbudget.planning.inputs import PodCost, PoolSizes
from poolbudget.resource import GROUP
from poolbudget.resource.times import seconds, timestamp

PREFIX = f"pool.{GROUP}/"

_FIELD_PATH = re.compile(rf"metadata\.annotations\['{re.escape(PREFIX)}(?P<budget>[^']+)'\]")
_MOST_NUMBER = 2**52
_MOST_CONNECTIONS = 1_000_000
_MOST_TEXT = 4096


def annotation_of(budget: str) -> str:
    """The annotation's name for a PoolBudget."""
    return f"{PREFIX}{budget}"


def shares_of(metadata: Object) -> Iterator[tuple[str, str]]:
    """The PoolBudgets that have told a pod its share, and what the annotations say."""
    for name, text in sorted((metadata.get("annotations") or {}).items()):
        if name.startswith(PREFIX):
            yield name.removeprefix(PREFIX), text


def followed_by(pod_spec: Object) -> frozenset[str]:
    """The PoolBudgets whose annotations a pod has as files, in a volume of its own or a projected one."""
    found = set()
    for volume in pod_spec.get("volumes") or []:
        projected = (volume.get("projected") or {}).get("sources") or []
        sources = [volume.get("downwardAPI"), *(source.get("downwardAPI") for source in projected)]
        for item in (item for source in sources if source for item in source.get("items") or []):
            match = _FIELD_PATH.fullmatch((item.get("fieldRef") or {}).get("fieldPath", ""))
            if match:
                found.add(match["budget"])
    return frozenset(found)


def grant_text(grant: Grant) -> str:
    """What stands in the annotation: the first three for the client library, the rest for the operator."""
    content: dict[str, Any] = {
        "revision": grant.revision,
        "poolSize": grant.sizes.pool_size,
        "maxOverflow": grant.sizes.max_overflow,
        "time": timestamp(grant.time),
        "charged": grant.charged,
    }
    if grant.earlier:
        content["earlier"] = [[told.revision, told.cap] for told in grant.earlier]
    if grant.cost != PodCost(1, 0):
        content["cost"] = [grant.cost.pools, grant.cost.extra]
    if grant.touched:
        content["touched"] = grant.touched
    return json.dumps(content, separators=(",", ":"))


def read_grant(text: str) -> Grant | None:
    """What an annotation says; None where somebody has written what makes no sense."""
    try:
        if len(text) > _MOST_TEXT:
            return None
        content = json.loads(text)
        time = seconds(content["time"])
        if time is None:
            return None
        return Grant(
            _number(content["revision"], 1),
            PoolSizes(
                _number(content["poolSize"], 1, _MOST_CONNECTIONS),
                _number(content["maxOverflow"], 0, _MOST_CONNECTIONS),
            ),
            time,
            _number(content["charged"], 0),
            tuple(_told(item) for item in content.get("earlier") or []),
            _number(content.get("touched", 0), 0),
            _cost(content.get("cost", [1, 0])),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _told(item: Any) -> Told:
    revision, cap = item
    return Told(_number(revision, 1), _number(cap, 1, 2 * _MOST_CONNECTIONS))


def _cost(item: Any) -> PodCost:
    pools, extra = item
    return PodCost(_number(pools, 1, _MOST_CONNECTIONS), _number(extra, 0, _MOST_CONNECTIONS))


def _number(value: Any, least: int, most: int = _MOST_NUMBER) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError("not a share")
    return value
