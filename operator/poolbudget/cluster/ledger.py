"""The ledger, as it stands in a PoolBudget's status."""

from __future__ import annotations

from pydantic import ValidationError

from poolbudget.cluster.api import Object
from poolbudget.planning.inputs import TargetKey
from poolbudget.planning.ledger import Ledger, LostPod
from poolbudget.resource.status import LedgerStatus
from poolbudget.resource.times import seconds, timestamp

_MOST_CLAIMS = 2**52

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
    # A number that somebody wrote and that leaves no room to count on.
    claim = status.claim if status.claim < _MOST_CLAIMS else 0
    return Ledger(claim, tuple(status.outstanding), tuple(lost))


def ledger_status(ledger: Ledger) -> Object | None:
    """The ledger for the status; None where there is nothing to remember.

    Empty lists are written, too: what somebody else put there would stay otherwise, since server-side
    apply removes only what is its own.
    """
    if ledger == Ledger():
        return None
    dearest = sorted(ledger.lost, key=lambda item: item.connections, reverse=True)[:MOST_LOST]
    return {
        "claim": ledger.claim,
        "outstanding": sorted(ledger.outstanding),
        "lost": [_lost(item) for item in sorted(dearest, key=lambda item: item.name)],
    }


def _lost(item: LostPod) -> Object:
    return {
        "uid": item.uid,
        "name": item.name,
        "kind": item.target.kind,
        "target": item.target.name,
        "connections": item.connections,
        "since": timestamp(item.since),
    }
