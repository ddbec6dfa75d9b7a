"""A pod's share, as the operator writes it into the pod's annotation and the kubelet into a file."""

from __future__ import annotations

import json
from dataclasses import dataclass

MOST_CHARACTERS = 4096
_MOST_CONNECTIONS = 1_000_000
_MOST_REVISION = 2**52


class ShareError(ValueError):
    """What stands in the file is no share; the message says why."""


@dataclass(frozen=True, slots=True)
class Share:
    """Connections that each pool of the pod may open; a higher revision is newer."""

    revision: int
    pool_size: int
    max_overflow: int

    @property
    def cap(self) -> int:
        """The most connections of one pool."""
        return self.pool_size + self.max_overflow


def parse_share(text: str) -> Share | None:
    """The share in a file's text; None for an empty file: the pod has none of its own yet.

    Raises ShareError for anything else that is not a share with at least 1 connection: SQLAlchemy reads a
    pool_size of 0 as no limit.
    """
    if not text.strip():
        return None
    if len(text) > MOST_CHARACTERS:
        raise ShareError(f"longer than {MOST_CHARACTERS} characters")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ShareError(f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ShareError("no JSON object")
    return Share(
        _number(found, "revision", 1, _MOST_REVISION),
        _number(found, "poolSize", 1, _MOST_CONNECTIONS),
        _number(found, "maxOverflow", 0, _MOST_CONNECTIONS),
    )


def _number(found: dict[str, object], name: str, least: int, most: int) -> int:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ShareError(f"{name} must be a whole number from {least}, not {value!r:.40}")
    return value
