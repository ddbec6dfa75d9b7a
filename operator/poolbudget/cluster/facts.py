"""What the conditions and the checks look at."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poolbudget.cluster.api import ApiError
from poolbudget.cluster.observed import Observed
from poolbudget.planning.forecast import Forecast, forecast
from poolbudget.planning.inputs import TargetKey
from poolbudget.planning.plan import Plan
from poolbudget.resource.conditions import Condition, ConditionType, Reason


@dataclass(frozen=True)
class Facts:
    """What the checks look at. `failed` are ConfigMaps, and `untold` pods, that could not be written."""

    observed: Observed
    plan: Plan
    failed: Mapping[str, ApiError] = field(default_factory=dict)
    untold: Mapping[str, ApiError] = field(default_factory=dict)

    @functools.cached_property
    def forecasts(self) -> dict[TargetKey, Forecast]:
        """The next rollout of each target, where that overlaps and the capacity is known."""
        usable, targets = self.observed.usable, self.observed.inputs.targets
        if usable is None:
            return {}
        found = ((target.key, forecast(target, self.plan, usable.connections)) for target in targets)
        return {key: expected for key, expected in found if expected is not None}

    def template(self, key: TargetKey) -> dict[str, Any]:
        """The pod template of a target's workload, empty where there is none."""
        manifest = self.observed.manifests.get(key) or {}
        template: dict[str, Any] = (manifest.get("spec") or {}).get("template") or {}
        return template

    def before(self, kind: ConditionType) -> Condition | None:
        """The condition as it stands in the status for the same spec."""
        old = self.observed.manifest.get("status") or {}
        for item in old.get("conditions") or []:
            if item.get("type") == kind.value and item.get("observedGeneration") == self.observed.generation:
                with contextlib.suppress(KeyError, ValueError):
                    return Condition(kind, item["status"], Reason(item["reason"]), item["message"])
        return None
