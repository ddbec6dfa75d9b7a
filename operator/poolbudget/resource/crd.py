"""The CustomResourceDefinition, made from the pydantic models."""

from __future__ import annotations

from typing import Any

from poolbudget.resource import GROUP, KIND, PLURAL, VERSION
from poolbudget.resource.model import Model
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.status import PoolBudgetStatus

Schema = dict[str, Any]

NAME_LENGTH = 63
_NAME_RULE = {
    "rule": f"self.metadata.name.size() <= {NAME_LENGTH}",
    "message": f"the name of a PoolBudget has at most {NAME_LENGTH} characters: it becomes a label",
}


def structural_schema(model: type[Model]) -> Schema:
    """A model's schema as the API server wants it: references inlined, no titles, no null variants."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    result: Schema = _structural(schema, definitions)
    return result


def _structural(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_structural(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    node = _dereferenced(_without_null(node), definitions)
    result: Schema = {}
    for key, value in node.items():
        if key == "patternProperties":
            # Kubernetes has no patterns for keys: they are checked when the spec is read.
            [result["additionalProperties"]] = _structural(list(value.values()), definitions)
        elif key not in ("title", "propertyNames") and not (key == "default" and value in (None, [], {})):
            result[key] = _value(key, value, definitions)
    return result


def _value(key: str, value: Any, definitions: Schema) -> Any:
    if key == "properties":
        return {name: _structural(item, definitions) for name, item in value.items()}
    if key == "default" and isinstance(value, dict):
        return {name: item for name, item in value.items() if item not in (None, [], {})}
    return value if key in ("default", "x-kubernetes-validations") else _structural(value, definitions)


def _dereferenced(node: Schema, definitions: Schema) -> Schema:
    reference = node.get("$ref")
    if reference is None:
        return node
    definition = dict(definitions[reference.rsplit("/", 1)[1]])
    definition.update({key: value for key, value in node.items() if key != "$ref"})
    return definition


def _without_null(node: Schema) -> Schema:
    """`X | None` as the API server says it: an optional X."""
    variants = node.get("anyOf")
    if variants is None:
        return node
    [variant] = [item for item in variants if item.get("type") != "null"]
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    return {**variant, **rest}


def _column(name: str, kind: str, path: str, description: str, wide: bool = False) -> Schema:
    column: Schema = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": 1} if wide else column


_COLUMNS = [
    _column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Is all well?"),
    _column("Capacity", "integer", ".status.capacity.connections", "What the endpoint accepts."),
    _column("Usable", "integer", ".status.usable", "What the targets share."),
    _column("Allocated", "integer", ".status.allocated", "What all pods may open together."),
    _column("Pods", "integer", ".status.pods", "Pods of all targets."),
    _column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why (not) ready."),
    _column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    _column("Endpoint", "string", ".spec.endpoint.host", "Host of the endpoint.", wide=True),
    _column("Source", "string", ".status.capacity.source", "Who told the capacity.", wide=True),
    _column("Others", "integer", ".status.others.connections", "Connections of others.", wide=True),
    _column("MaxPods", "integer", ".status.maxPods", "Pods that fit at their floors.", wide=True),
]


def custom_resource_definition() -> Schema:
    """The whole manifest, as plain data."""
    spec = structural_schema(PoolBudgetSpec)
    status = structural_schema(PoolBudgetStatus)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": "poolbudget",
                "shortNames": ["pb"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _COLUMNS,
                    "selectableFields": [
                        {"jsonPath": ".spec.endpoint.host"},
                        {"jsonPath": ".spec.reserveFor"},
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "Binds a database endpoint to the workloads that share "
                            "its connections, and says how.",
                            "required": ["spec"],
                            "x-kubernetes-validations": [_NAME_RULE],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": spec,
                                "status": status,
                            },
                        }
                    },
                }
            ],
        },
    }
