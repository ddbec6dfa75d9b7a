"""The one place that reads the wall clock for what is written."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """The time as metav1.Time writes it: RFC 3339, whole seconds, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
