"""Kubernetes Events: a line in `kubectl describe` for each new size."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from poolbudget.cluster import paths
from poolbudget.cluster.api import Api
from poolbudget.cluster.config_map import BudgetReference
from poolbudget.resource import API_VERSION, KIND

_NOTE_LENGTH = 1000
"""events.k8s.io/v1 allows 1 kB."""


async def post(
    api: Api, budget: BudgetReference, reason: str, note: str, *, instance: str, is_warning: bool = False
) -> None:
    """Post one Event about a PoolBudget. Raises ApiError."""
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{budget.name}.{uuid.uuid4().hex[:16]}", "namespace": budget.namespace},
        "eventTime": moment,
        "reportingController": "poolbudget.io/operator",
        "reportingInstance": instance,
        "action": "Check" if is_warning else "Publish",
        "type": "Warning" if is_warning else "Normal",
        "reason": reason,
        "note": note[:_NOTE_LENGTH],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": budget.namespace,
            "name": budget.name,
            "uid": budget.uid,
        },
    }
    await api.create(paths.events(budget.namespace), body)
