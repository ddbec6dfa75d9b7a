"""Manifests from files, as if an API server held them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from poolbudget.cluster import paths
from poolbudget.cluster.api import ApiError, Object
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

    async def create(self, path: str, body: Object) -> Object:
        """Refused. Raises ApiError."""
        raise ApiError(405, "MethodNotAllowed", f"{path} is a file's")

    def scale(self, namespace: str, name: str, replicas: int) -> bool:
        """Set the replicas of the workloads of a name; returns whether there is any."""
        found = False
        for kind in _WORKLOADS:
            workload = self.objects.get(paths.workload(namespace, TargetKey(kind, name)))
            if workload is not None:
                workload["spec"]["replicas"] = replicas
                found = True
        return found


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
        if document.get("kind", "").endswith("List") and isinstance(document.get("items"), list):
            yield from (item for item in document["items"] if isinstance(item, dict))
        else:
            yield document


def _path(manifest: Object, file: Path) -> str | None:
    """Where an API server would keep it; None for what does not matter here. Raises BadManifest."""
    kind = manifest.get("kind")
    if kind not in (KIND, "HorizontalPodAutoscaler", *_WORKLOADS):
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
        unknown = sorted(_unknown(spec, structural_schema(PoolBudgetSpec), "spec"))
        if unknown:
            raise BadManifest(f"{file}: {kind} {metadata['name']} has no field {', '.join(unknown)}")
        return paths.budget(namespace, metadata["name"])
    if kind == "HorizontalPodAutoscaler":
        return f"{paths.autoscalers(namespace)}/{metadata['name']}"
    return paths.workload(namespace, TargetKey(kind, metadata["name"]))


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
