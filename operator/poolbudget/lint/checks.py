"""All checks, by code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from poolbudget.cluster.facts import Facts
from poolbudget.lint import engine, server, sums, workload
from poolbudget.lint.finding import Check, Finding, Severity

_ERROR, _WARNING, _INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

CHECKS = (
    Check("PB101", _ERROR, sums.floors_exceed),
    Check("PB102", _WARNING, sums.small_at_maximum),
    Check("PB103", _WARNING, sums.thin_reserves),
    Check("PB104", _INFO, sums.beyond_cores),
    Check("PB105", _ERROR, sums.hidden_workers),
    Check("PB106", _WARNING, sums.rollout_exceeds),
    Check("PB107", _WARNING, sums.smaller_replica),
    Check("PB108", _INFO, sums.only_an_estimate),
    Check("PB201", _ERROR, engine.statement_cache),
    Check("PB202", _WARNING, engine.long_recycle),
    Check("PB203", _WARNING, engine.short_recycle),
    Check("PB204", _WARNING, engine.large_behind_proxy),
    Check("PB205", _WARNING, engine.null_pool),
    Check("PB206", _WARNING, engine.large_behind_transaction_pooler),
    Check("PB207", _ERROR, engine.pooler_beyond_server),
    Check("PB208", _WARNING, engine.hidden_pooler),
    Check("PB301", _ERROR, workload.not_read),
    Check("PB302", _ERROR, workload.optional),
    Check("PB303", _WARNING, workload.reloader),
    Check("PB304", _ERROR, workload.missing_key),
    Check("PB305", _ERROR, workload.no_share),
    Check("PB306", _WARNING, workload.unseen),
    Check("PB307", _WARNING, workload.unmeasured),
    Check("PB401", _WARNING, server.past_the_pooler),
    Check("PB402", _WARNING, server.long_transactions),
    Check("PB403", _INFO, server.no_monitor),
    Check("PB404", _WARNING, server.idle_session_timeout),
)


SEEN_ON_SERVER = "PB4"
"""How the codes begin of what only a probe can see."""


def lint(facts: Facts) -> list[Finding]:
    """All findings, by code; what the server showed last stays until it can be asked again."""
    found = [finding for check in CHECKS for finding in check.findings(facts)]
    observed = facts.observed
    if observed.spec.capacity.probe is not None and observed.reading.limits is None:
        found += [item for item in _told_before(facts) if item.code.startswith(SEEN_ON_SERVER)]
    return found


def _told_before(facts: Facts) -> Iterator[Finding]:
    """The findings in the status; what an editor made senseless is passed over."""
    for item in (facts.observed.manifest.get("status") or {}).get("warnings") or []:
        with contextlib.suppress(KeyError, ValueError, TypeError):
            yield Finding(item["code"], Severity(item["severity"]), item["subject"], item["message"])
