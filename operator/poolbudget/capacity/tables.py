"""The providers' tables, as data files with their sources."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import yaml


@functools.cache
def table(name: str) -> dict[str, Any]:
    """A table of this package's folder `tables`, with `source` and `date` in it."""
    text = resources.files("poolbudget.capacity").joinpath("tables", f"{name}.yaml").read_text()
    content: dict[str, Any] = yaml.safe_load(text)
    return content
