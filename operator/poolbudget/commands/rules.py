"""The schema's rules, for manifests that no API server has checked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cel

Schema = dict[str, Any]


def with_defaults(value: Any, schema: Schema) -> Any:
    """A value as the API server stores it: with the schema's defaults where nothing is given."""
    if isinstance(value, dict) and "properties" in schema:
        filled = dict(value)
        for name, field in schema["properties"].items():
            if name not in filled and "default" in field:
                filled[name] = field["default"]
            if name in filled:
                filled[name] = with_defaults(filled[name], field)
        return filled
    if isinstance(value, list) and "items" in schema:
        return [with_defaults(item, schema["items"]) for item in value]
    return value


def broken_rules(value: Any, schema: Schema, where: str) -> Iterator[str]:
    """The messages of the rules that do not hold, each with its place.

    The same rules as the API server evaluates (`x-kubernetes-validations`), by another implementation of
    the Common Expression Language.
    """
    yield from _complaints(value, schema, where)
    if isinstance(value, dict):
        for name, field in schema.get("properties", {}).items():
            if name in value:
                yield from broken_rules(value[name], field, f"{where}.{name}")
    elif isinstance(value, list) and "items" in schema:
        for position, item in enumerate(value):
            yield from broken_rules(item, schema["items"], f"{where}[{position}]")


def _complaints(value: Any, schema: Schema, where: str) -> Iterator[str]:
    """About a value itself, whatever it holds."""
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is not one of {', '.join(str(item) for item in schema['enum'])}"
    for rule in schema.get("x-kubernetes-validations", ()):
        if not _holds(rule["rule"], value):
            yield f"{where}: {rule['message']}"
    yield from _twice(value, schema, where)


def _holds(rule: str, value: Any) -> bool:
    """A rule that cannot be evaluated does not hold, as for the API server."""
    try:
        return cel.evaluate(rule, {"self": value}) is True
    except (ValueError, TypeError, RuntimeError):
        return False


def _twice(value: Any, schema: Schema, where: str) -> Iterator[str]:
    """Items of a list map that have the same keys."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys and isinstance(value, list):
        seen = [tuple(item.get(key) for key in keys) for item in value if isinstance(item, dict)]
        for item in sorted({item for item in seen if seen.count(item) > 1}, key=str):
            yield f"{where}: {'/'.join(str(part) for part in item)} stands there twice"
