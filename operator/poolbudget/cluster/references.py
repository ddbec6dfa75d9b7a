"""Where containers and pods refer to ConfigMaps: the references as they stand in a pod's spec."""

from __future__ import annotations

from collections.abc import Iterator

from poolbudget.cluster.api import Object


def environment_references(container: Object) -> Iterator[Object]:
    """Those of a container's envFrom and env."""
    for source in container.get("envFrom") or []:
        if source.get("configMapRef"):
            yield source["configMapRef"]
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("configMapKeyRef")
        if reference:
            yield reference


def volume_references(spec: Object) -> Iterator[Object]:
    """Those of a pod's volumes, projected ones included."""
    for volume in spec.get("volumes") or []:
        for source in [volume, *((volume.get("projected") or {}).get("sources") or [])]:
            if source.get("configMap"):
                yield source["configMap"]
