"""Manifests from files, as if an API server held them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from poolbudget.cluster import paths
from poolbudget.cluster.api import Object
from poolbudget.cluster.observed import InvalidSpecError, parse_spec
from poolbudget.cluster.workloads import autoscaler, scale_target, workload
from poolbudget.commands.rules import broken_rules, with_defaults
from poolbudget.planning.inputs import TargetKey
from poolbudget.resource import KIND
from poolbudget.resource.crd import structural_schema
from poolbudget.resource.spec import PoolBudgetSpec

_ENDINGS = (".yaml", ".yml")
_WORKLOADS = ("Deployment", "StatefulSet")


class BadManifest(Exception):
    """A file that cannot be used; the message says which and why."""


@dataclass
class Manifests:
    """Objects by their URL path. Nothing is ever written."""

    objects: dict[str, Object] = field(default_factory=dict)

    @property
    def budgets(self) -> list[Object]:
        """The PoolBudgets."""
        return [item for item in self.objects.values() if item.get("kind") == KIND]

    async def find(self, path: str) -> Object | None:
        """An object, None where there is none."""
        return self.objects.get(path)

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Object:
        """A list of those below a path; labels are not looked at, since no ConfigMap is ever there."""
        if path in self.objects:
            return self.objects[path]
        items = [item for known, item in self.objects.items() if known.rpartition("/")[0] == path]
        return {"items": items, "metadata": {}}


def load(sources: list[Path], is_recursive: bool) -> Manifests:
    """Read files, and the YAML files of folders. Raises BadManifest."""
    manifests = Manifests()
    for source in sources:
        for file in _files(source, is_recursive):
            for manifest in _documents(file):
                path = _path(manifest, file)
                if path is not None:
                    manifests.objects[path] = manifest
    return manifests


def _files(source: Path, is_recursive: bool) -> list[Path]:
    if source.is_dir():
        found = source.rglob("*") if is_recursive else source.iterdir()
        return sorted(file for file in found if file.suffix in _ENDINGS)
    return [source]


def _documents(file: Path) -> Iterator[Object]:
    try:
        documents = list(yaml.safe_load_all(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadManifest(f"{file}: {' '.join(str(error).split())}") from None
    for document in documents:
        if not isinstance(document, dict):
            continue
        if str(document.get("kind")).endswith("List") and isinstance(document.get("items"), list):
            yield from (item for item in document["items"] if isinstance(item, dict))
        else:
            yield document


def _path(manifest: Object, file: Path) -> str | None:
    """Where an API server would keep it; None for what does not matter here. Raises BadManifest."""
    kind = manifest.get("kind")
    if not isinstance(kind, str) or kind not in (KIND, "HorizontalPodAutoscaler", *_WORKLOADS):
        return None
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise BadManifest(f"{file}: a {kind} without metadata.name")
    namespace = metadata.setdefault("namespace", "default")
    spec = manifest.get("spec")
    if not isinstance(spec, dict):
        raise BadManifest(f"{file}: {kind} {metadata['name']} has no spec")
    if kind == KIND:
        metadata.update(uid="", generation=0, resourceVersion="")
        _check_budget(manifest, file)
        return paths.budget(namespace, metadata["name"])
    try:
        if kind == "HorizontalPodAutoscaler":
            scale_target(manifest)
            autoscaler(manifest)
            return f"{paths.autoscalers(namespace)}/{metadata['name']}"
        if not isinstance(spec.get("replicas", 1), int):
            raise TypeError("spec.replicas is no number")
        workload(manifest, None)
        return paths.workload(namespace, TargetKey(kind, metadata["name"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadManifest(f"{file}: {kind} {metadata['name']} makes no sense: {error}") from None


def _check_budget(manifest: Object, file: Path) -> None:
    """As the API server would: fields, types and rules. Raises BadManifest."""
    name, schema = manifest["metadata"]["name"], structural_schema(PoolBudgetSpec)
    unknown = sorted(_unknown(manifest["spec"], schema, "spec"))
    if unknown:
        raise BadManifest(f"{file}: {KIND} {name} has no field {', '.join(unknown)}")
    manifest["spec"] = with_defaults(manifest["spec"], schema)
    try:
        parse_spec(manifest)
    except InvalidSpecError as error:
        raise BadManifest(f"{file}: {KIND} {name}: {error}") from None
    broken = list(broken_rules(manifest["spec"], schema, "spec"))
    if broken:
        raise BadManifest(f"{file}: {KIND} {name}: {'; '.join(broken[:3])}")


def _unknown(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    """Fields that the schema does not have: the API server would leave them out without a word."""
    if isinstance(value, dict) and "properties" in schema:
        for key, item in value.items():
            if key in schema["properties"]:
                yield from _unknown(item, schema["properties"][key], f"{where}.{key}")
            else:
                yield f"{where}.{key}"
    elif isinstance(value, list) and "items" in schema:
        for position, item in enumerate(value):
            yield from _unknown(item, schema["items"], f"{where}[{position}]")
