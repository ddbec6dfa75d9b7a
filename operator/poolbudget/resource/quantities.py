"""Values as Kubernetes users write them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_DURATION = r"^([0-9]+(ms|s|m|h))+$"
_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(duration: str) -> float:
    """Seconds in a duration such as `60s`, `1m30s` or `500ms` (Go's form, as in metav1.Duration).

    Raises ValueError for anything else.
    """
    if not re.fullmatch(_DURATION, duration):
        raise ValueError(f"{duration!r} is not a duration such as 60s or 1m30s")
    return sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(duration))


def _checked(duration: str) -> str:
    seconds(duration)
    return duration


Duration = Annotated[str, Field(max_length=20), AfterValidator(_checked)]
"""A string such as `60s`; the schema's rule for it is `duration_rule`."""


def duration_rule(field: str, least: str, most: str) -> dict[str, str]:
    """A CEL rule for a duration field, with a sentence for whoever breaks it."""
    value = f"self.{field}"
    return {
        "rule": f"!has({value}) || ({value}.matches('{_DURATION}') && duration({value}) >= "
        f"duration('{least}') && duration({value}) <= duration('{most}'))",
        "message": f"{field} is a duration from {least} to {most}, such as 60s or 1m30s",
    }
