"""`poolbudget plan`: a gate that says what fits, and never that all is well where it did not look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from poolbudget.cli import main

BUDGET: dict[str, Any] = {
    "apiVersion": "poolbudget.io/v1alpha1",
    "kind": "PoolBudget",
    "metadata": {"name": "orders", "namespace": "shop"},
    "spec": {
        "endpoint": {"host": "db.example.internal"},
        "capacity": {"maxConnections": 170},
        "reserved": {"admin": 10, "replication": 2},
        "targets": [{"name": "web"}],
    },
}


def deployment(**spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "x", "envFrom": [{"configMapRef": {"name": "web-pool"}}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": 3,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"spec": {"containers": [container]}},
            **spec,
        },
    }


def budget(**spec: Any) -> dict[str, Any]:
    return {**BUDGET, "spec": {**BUDGET["spec"], **spec}}


def autoscaler(most: int) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": most},
    }


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    def run(*manifests: Any, arguments: tuple[str, ...] = ()) -> Result:
        file = tmp_path / "manifests.yaml"
        file.write_text(yaml.safe_dump_all(manifests))
        return CliRunner(env={"COLUMNS": "100"}).invoke(main, ["plan", "-f", str(file), *arguments])

    return run


def test_the_guides_example(plan: Any) -> None:
    """170 connections with 15 reserved, three pods: 35/15 each, 3 x 50 = 150 within 155."""
    done = plan(budget(reserveFor="CurrentPods"), deployment(), arguments=("-o", "json"))
    assert done.exit_code == 0
    [found] = json.loads(done.output)
    [target] = found["targets"]
    assert (target["before"], target["connectionsPerPod"]) == ({"poolSize": 35, "maxOverflow": 15}, 50)
    assert (found["sumBefore"], found["usable"], found["fits"]) == (150, 155, True)


def test_the_arithmetic_of_a_scaling(plan: Any) -> None:
    done = plan(BUDGET, deployment(), autoscaler(12), arguments=("--scale", "web=12"))
    assert done.exit_code == 0, done.output
    assert "170 - 3 of the server - 10 for administrators - 2 for replication = 155 (declared)" in done.output
    assert "3 pods x 22 + 9 new x 8 = 138 of 155" in done.output
    assert "3 x 51 + 9 new x 12 = 261 of 155, 106 too many" in done.output
    assert max(len(line) for line in done.output.splitlines()) <= 100


def test_a_maximum_that_does_not_fit(plan: Any) -> None:
    done = plan(BUDGET, deployment(), autoscaler(200))
    assert done.exit_code == 1
    assert "does not fit" in done.output
    assert "PB101 Error" in done.output


def test_two_budgets_that_count_on_the_same_connections(plan: Any) -> None:
    other = {**BUDGET, "metadata": {"name": "other", "namespace": "shop"}}
    done = plan(BUDGET, other, deployment())
    assert done.exit_code == 1
    assert "bound by PoolBudget other too" in " ".join(done.output.split())


def test_pods_that_are_to_go_are_still_there(plan: Any) -> None:
    done = plan(BUDGET, deployment(), arguments=("--scale", "web=1"))
    assert "(2 of them until they have ended)" in done.output


def test_yaml_says_the_same_as_json(plan: Any) -> None:
    in_json = json.loads(plan(BUDGET, deployment(), arguments=("-o", "json")).output)
    assert yaml.safe_load(plan(BUDGET, deployment(), arguments=("-o", "yaml")).output) == in_json


@pytest.mark.parametrize(
    ("manifests", "words"),
    [
        ([BUDGET], "Deployment/web of PoolBudget orders is not among the manifests"),
        ([deployment()], "there is no PoolBudget"),
        ([budget(capacty={})], "no field spec.capacty"),
        ([budget(targets=[{"name": "web", "worker": 2}])], "no field spec.targets[0].worker"),
        ([budget(capacity={})], "capacity needs a source"),
        ([budget(targets=[{"name": "web"}, {"name": "web"}])], "stands there twice"),
        (
            [budget(capacity={"probe": {"urlSecretKeyRef": {"name": "s"}}}), deployment()],
            "add capacity.maxConnections or capacity.estimate, or use --live",
        ),
        ([budget(targets=[{"name": "web", "minPerPool": 9, "maxPerPool": 2}])], "must not exceed"),
        ([budget(endpoint={"host": "postgresql://db"})], "host is a name or an address only"),
        ([budget(endpoint={"host": "db", "pooler": {"type": "PgBouncer"}})], "pooler.mode is needed"),
        ([budget(targets=[{"kind": "DaemonSet", "name": "web"}])], "is not one of Deployment, StatefulSet"),
        ([BUDGET, deployment(replicas="3")], "spec.replicas is no number"),
        ([BUDGET, deployment(replicas=None)], "spec.replicas is no number"),
        (
            [BUDGET, {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": {}}],
            "makes no sense",
        ),
        ([{"kind": "PoolBudget", "metadata": {}}], "without metadata.name"),
        ([{"kind": None}, "text", 7], "there is no PoolBudget"),
    ],
)
def test_wrong_usage_is_2_and_never_fits(plan: Any, manifests: list[Any], words: str) -> None:
    done = plan(*manifests)
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give manifests with -f, or --live"),
        (["--live", "-f", "."], "and not both"),
        (["-f", ".", "--scale", "web"], "not like web=12"),
        (["-f", "nowhere"], "does not exist"),
    ],
)
def test_arguments(arguments: list[str], words: str) -> None:
    done = CliRunner().invoke(main, ["plan", *arguments])
    assert (done.exit_code, words in done.output) == (2, True)


def test_a_name_that_nobody_has(plan: Any) -> None:
    done = plan(BUDGET, deployment(), arguments=("--scale", "wbe=10000"))
    assert done.exit_code == 2
    assert "--scale wbe: no PoolBudget has a target of that name" in done.output


def test_the_readme_shows_what_is_printed() -> None:
    repository = Path(__file__).parents[2]
    command = "poolbudget plan -f deploy/samples --scale orders-api=9"
    shown = (repository / "README.md").read_text().split(f"    $ {command}\n")[1].split("\n\n")[0]
    arguments = ["plan", "-f", str(repository / "deploy" / "samples"), "--scale", "orders-api=9"]
    done = CliRunner(env={"COLUMNS": "100"}).invoke(main, arguments)
    printed = [f"    {line}".rstrip() for line in done.output.strip().splitlines()]
    assert shown.splitlines() == printed
