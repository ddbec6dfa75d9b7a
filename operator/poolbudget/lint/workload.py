"""PB3xx: pod templates that do not read what is written for them."""

from __future__ import annotations

from collections.abc import Iterator

from poolbudget.cluster.api import Object
from poolbudget.cluster.facts import Facts
from poolbudget.cluster.in_place import is_in_place, obstacle
from poolbudget.cluster.pod_annotation import annotation_of, followed_by
from poolbudget.cluster.references import environment_references, volume_references
from poolbudget.planning.inputs import UpdateMode
from poolbudget.recipes.render import rendered
from poolbudget.resource.spec import ShareBy
from poolbudget.resource.target import TargetSpec

Found = Iterator[tuple[str, str]]

_RELOADERS = (
    "reloader.stakater.com/auto",
    "configmap.reloader.stakater.com/auto",
    "configmap.reloader.stakater.com/reload",
)


def references(template: Object, name: str) -> Iterator[Object]:
    """Each place where a pod template refers to a ConfigMap: envFrom, env, or a volume."""
    spec = template.get("spec") or {}
    found = list(volume_references(spec))
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        found += environment_references(container)
    return (reference for reference in found if reference.get("name") == name)


def _read_targets(facts: Facts) -> Iterator[tuple[TargetSpec, Object]]:
    """The targets whose workloads exist, with their pod templates."""
    for spec in facts.observed.spec.targets:
        template = facts.template(spec.key)
        if template and spec.update_mode is not UpdateMode.OFF:
            yield spec, template


def not_read(facts: Facts) -> Found:
    """PB301: no container reads the target's ConfigMap, so nothing that is written has any effect."""
    for spec, template in _read_targets(facts):
        if not any(references(template, spec.config_map_name)):
            yield (
                str(spec.key),
                f"no container reads ConfigMap {spec.config_map_name}, so its pools stay as they are: add "
                f"envFrom: [{{configMapRef: {{name: {spec.config_map_name}}}}}] to the pod template",
            )


def optional(facts: Facts) -> Found:
    """PB302: a container that starts before the ConfigMap is there guesses its sizes."""
    for spec, template in _read_targets(facts):
        if any(item.get("optional") for item in references(template, spec.config_map_name)):
            yield (
                str(spec.key),
                f"the reference to ConfigMap {spec.config_map_name} is optional, so that a container "
                "without its sizes starts with a guess: remove optional",
            )


def reloader(facts: Facts) -> Found:
    """PB303: a reloader turns each new size into a rollout."""
    for spec in facts.observed.spec.targets:
        manifest = facts.observed.manifests.get(spec.key) or {}
        template = (manifest.get("spec") or {}).get("template") or {}
        annotations = {
            **(manifest.get("metadata", {}).get("annotations") or {}),
            **((template.get("metadata") or {}).get("annotations") or {}),
        }
        for name in _RELOADERS:
            value = str(annotations.get(name, "")).lower()
            if value == "true" or spec.config_map_name in value.split(","):
                yield (
                    str(spec.key),
                    f"the annotation {name} may turn each new size into a rollout, when connections are "
                    f"scarcest: exclude ConfigMap {spec.config_map_name} from it",
                )


def no_share(facts: Facts) -> Found:
    """PB305: pods of an InPlace target do not have their share as a file, so that they cannot follow it."""
    budget = facts.observed.reference.name
    for spec, template in _read_targets(facts):
        if not is_in_place(facts.observed.spec, spec):
            continue
        if budget not in followed_by(template.get("spec") or {}):
            yield (
                str(spec.key),
                "its pods cannot follow their shares, and keep what they start with: add a downwardAPI "
                f"volume with metadata.annotations['{annotation_of(budget)}'] as {budget} and metadata.uid "
                "as uid, mounted at /etc/poolbudget (docs/applications.md)",
            )


def unseen(facts: Facts) -> Found:
    """PB306: nobody can see what pods have applied, so that an InPlace target is treated as Initial."""
    reason = obstacle(facts.observed.spec)
    for spec, _ in _read_targets(facts):
        if reason is not None and spec.update_mode is UpdateMode.IN_PLACE:
            yield str(spec.key), f"treated as updateMode Initial: {reason}"


def unmeasured(facts: Facts) -> Found:
    """PB307: shares are to go by demand, and nobody can see what is in use."""
    observed = facts.observed
    if observed.spec.share_by is not ShareBy.DEMAND:
        return
    if observed.spec.endpoint.pooler.shares_connections:
        reason = "behind a pooler that shares connections the database does not show what pods have in use"
    elif observed.sight.hides_states:
        reason = "the probe's role is not shown what others' connections do: GRANT pg_monitor to it"
    else:
        return
    yield (
        "spec.shareBy",
        f"shares go by weight, or by what was seen before: {reason}",
    )


def missing_key(facts: Facts) -> Found:
    """PB304: a container refers to a key that the ConfigMap does not have, and never starts."""
    for spec, template in _read_targets(facts):
        sizes = facts.plan.target(spec.key).sizes
        if sizes is None:
            continue
        prefixes = (spec.config_map.key_prefix or "",)
        present = rendered(facts.observed.recipes[spec.key], sizes, prefixes)
        wanted = {item["key"] for item in references(template, spec.config_map_name) if "key" in item}
        for key in sorted(wanted - present.keys()):
            yield (
                str(spec.key),
                f"a container wants key {key} of ConfigMap {spec.config_map_name}, which has no such key, "
                "and will not start: correct the key or configMap.keyPrefix",
            )
