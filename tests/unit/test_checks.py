"""docs/checks.md: each check complains about its bad sample, and not about its good one."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from poolbudget.capacity.consumers import Others
from poolbudget.capacity.limits import ServerLimits
from poolbudget.capacity.reading import Reading
from poolbudget.cluster import paths
from poolbudget.commands.manifests import Manifests
from poolbudget.commands.outlook import outlook
from poolbudget.lint.checks import CHECKS
from poolbudget.planning.inputs import TargetKey

DOCUMENT = (Path(__file__).parents[2] / "docs" / "checks.md").read_text()
SECTIONS = re.findall(r"^### (PB\d+) (\w+): [^\n]+\n.*?```yaml\n(.*?)```", DOCUMENT, re.MULTILINE | re.DOTALL)
SAMPLES = {code: yaml.safe_load(text) for code, _, text in SECTIONS}


def base() -> dict[str, Any]:
    return {
        "budget": {
            "endpoint": {"host": "db"},
            "capacity": {"maxConnections": 400},
            "reserved": {"admin": 30},
            "targets": [{"name": "api"}],
        },
        "container": {"name": "api", "envFrom": [{"configMapRef": {"name": "api-pool"}}]},
        "volumes": [],
        "annotations": {},
        "autoscaler": {"minReplicas": 3, "maxReplicas": 10},
        "server": None,
    }


def manifests(changes: dict[str, Any]) -> tuple[Manifests, Reading]:
    """The base with a sample's parts put over it, and what the probe has seen."""
    parts = base()
    for name, part in changes.items():
        parts[name] = part if isinstance(part, list) else {**(parts[name] or {}), **part}
    budget = {
        "kind": "PoolBudget",
        "metadata": {
            "name": "orders",
            "namespace": "shop",
            "uid": "",
            "generation": 1,
            "resourceVersion": "",
        },
        "spec": parts["budget"],
    }
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": "shop", "annotations": parts["annotations"]},
        "spec": {
            "selector": {"matchLabels": {"app": "api"}},
            "template": {
                "metadata": {},
                "spec": {"containers": [parts["container"]], "volumes": parts["volumes"]},
            },
        },
    }
    autoscaler = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"},
            **parts["autoscaler"],
        },
    }
    objects = {
        paths.budget("shop", "orders"): budget,
        paths.workload("shop", TargetKey("Deployment", "api")): deployment,
        f"{paths.autoscalers('shop')}/api": autoscaler,
    }
    server = parts["server"]
    if server is None:
        return Manifests(objects), Reading()
    budget["spec"]["capacity"] = {"probe": {"urlSecretKeyRef": {"name": "db"}}}
    if "primary" in server:
        objects[paths.budget("shop", "primary")] = {
            **budget,
            "metadata": {**budget["metadata"], "name": "primary"},
            "spec": {**budget["spec"], "endpoint": {"host": "primary"}},
            "status": {"capacity": {"maxConnections": server["primary"]}},
        }
    return Manifests(objects), reading(server)


def reading(server: dict[str, Any]) -> Reading:
    limits = ServerLimits(
        server.get("maxConnections", 400),
        in_recovery=server.get("recovery", False),
        idle_session_timeout=server.get("idleSessionTimeout", 0),
        sees_all=server.get("seesAll", True),
        has_pooler=server.get("pooler", False),
    )
    others = Others(long_transactions=server.get("longTransactions", 0), direct=server.get("direct", 0))
    return Reading(limits, others=others)


def findings(changes: dict[str, Any]) -> set[str]:
    found, seen = manifests(changes)
    budget = found.objects[paths.budget("shop", "orders")]
    result = asyncio.run(outlook(found, budget, found.budgets, None, {}, 0.0, seen))
    return {item.code for item in result.findings}


def test_every_check_is_documented_with_its_severity() -> None:
    assert {code: severity for code, severity, _ in SECTIONS} == {
        check.code: check.severity.value for check in CHECKS
    }


@pytest.mark.parametrize("code", SAMPLES)
def test_the_bad_sample_is_found(code: str) -> None:
    assert code in findings(SAMPLES[code]["bad"])


@pytest.mark.parametrize("code", SAMPLES)
def test_the_good_sample_is_not(code: str) -> None:
    assert code not in findings(SAMPLES[code]["good"])


def test_the_base_is_without_findings() -> None:
    assert findings({}) == set()


@pytest.mark.parametrize(
    "words",
    [
        {"command": ["gunicorn", "-w", "4"]},
        {"command": ["sh", "-c", "exec uvicorn app:app --workers=4"]},
        {"args": ["uvicorn", "--workers", "4"]},
        {"env": [{"name": "WEB_CONCURRENCY", "value": "4"}]},
    ],
)
def test_workers_are_found_wherever_they_are_set(words: dict[str, Any]) -> None:
    assert "PB105" in findings({"container": words})


@pytest.mark.parametrize(
    "words",
    [
        {"command": ["sh", "-c", "nc -w 30 db 5432"]},
        {"env": [{"name": "WEB_CONCURRENCY", "value": "9" * 5000}]},
        {"command": ["gunicorn", "-w", "1"]},
    ],
)
def test_what_is_no_number_of_workers(words: dict[str, Any]) -> None:
    assert "PB105" not in findings({"container": words})


def test_an_annotation_that_yaml_made_a_truth_value() -> None:
    assert "PB303" in findings({"annotations": {"reloader.stakater.com/auto": True}})


def test_a_volume_reads_the_config_map_too() -> None:
    found, seen = manifests({"container": {"envFrom": []}})
    deployment = found.objects[paths.workload("shop", TargetKey("Deployment", "api"))]
    deployment["spec"]["template"]["spec"]["volumes"] = [
        {"name": "sizes", "projected": {"sources": [{"configMap": {"name": "api-pool"}}]}}
    ]
    budget = found.objects[paths.budget("shop", "orders")]
    result = asyncio.run(outlook(found, budget, found.budgets, None, {}, 0.0, seen))
    assert not [item for item in result.findings if item.code == "PB301"]
