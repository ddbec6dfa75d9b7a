"""The ledger, as it stands in a PoolBudget's status."""

from __future__ import annotations

from pydantic import ValidationError

from poolbudget.cluster.api import Object
from poolbudget.planning.inputs import TargetKey
from poolbudget.planning.ledger import Ledger, LostPod
from poolbudget.resource.status import LedgerStatus
from poolbudget.resource.times import seconds, timestamp

MOST_LOST = 100
"""Lost pods that are remembered one by one; of more, the largest count."""


def read_ledger(manifest: Object) -> Ledger:
    """The ledger of a PoolBudget; an empty one where there is none, or an editor made it senseless."""
    try:
        status = LedgerStatus.model_validate((manifest.get("status") or {}).get("ledger") or {})
    except ValidationError:
        return Ledger()
    lost = (
        LostPod(item.uid, item.name, TargetKey(item.kind, item.target), item.connections, since)
        for item in status.lost
        if (since := seconds(item.since)) is not None
    )
    return Ledger(status.claim, tuple(status.outstanding), tuple(lost))


def ledger_status(ledger: Ledger) -> Object | None:
    """The ledger for the status; None where there is nothing to remember."""
    status: Object = {}
    if ledger.claim:
        status["claim"] = ledger.claim
    if ledger.outstanding:
        status["outstanding"] = sorted(ledger.outstanding)
    if ledger.lost:
        dearest = sorted(ledger.lost, key=lambda item: item.connections, reverse=True)[:MOST_LOST]
        status["lost"] = [_lost(item) for item in sorted(dearest, key=lambda item: item.name)]
    return status or None


def _lost(item: LostPod) -> Object:
    return {
        "uid": item.uid,
        "name": item.name,
        "kind": item.target.kind,
        "target": item.target.name,
        "connections": item.connections,
        "since": timestamp(item.since),
    }
