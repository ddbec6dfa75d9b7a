"""Installing by Helm and by kustomize, as a user would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster.binaries import CannotBuild, program
from cluster.control_plane import Cluster, wait_for_default_service_account
from cluster.operator_process import OperatorProcess
from conftest import unavailable

CHART = "charts/poolbudget"


@pytest.fixture(scope="module")
def helm_program() -> Path | str:
    try:
        return program("helm")
    except CannotBuild as error:
        return str(error)


def helm(helm_program: Path | str, repository: Path, *arguments: str, kubeconfig: Path | None = None) -> str:
    if isinstance(helm_program, str):
        unavailable(helm_program)
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig or "/nowhere")}
    done = subprocess.run(
        [helm_program, *arguments],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_chart_is_well_formed(helm_program: Path | str, repository: Path) -> None:
    assert "0 chart(s) failed" in helm(helm_program, repository, "lint", "--strict", CHART)


def test_helm_installs_what_kustomize_installs(
    helm_program: Path | str, repository: Path, cluster: Cluster
) -> None:
    """Both ways give the same rights and run the same container."""
    # Without a cluster Helm judges the chart by an old version of Kubernetes that was built into it.
    options = ("--namespace=poolbudget-system", "--kube-version=1.32.0")
    rendered = helm(helm_program, repository, "template", "poolbudget", CHART, *options)
    chart = {item["kind"]: item for item in yaml.safe_load_all(rendered) if item}
    text = cluster.kubectl("kustomize", str(repository / "deploy"))
    plain = {item["kind"]: item for item in yaml.safe_load_all(text)}
    assert chart["ClusterRole"]["rules"] == plain["ClusterRole"]["rules"]
    specs = [source["Deployment"]["spec"]["template"]["spec"] for source in (chart, plain)]
    containers = [{**spec["containers"][0], "imagePullPolicy": None} for spec in specs]
    assert containers[0] == containers[1]
    for field in ("securityContext", "volumes"):
        assert specs[0][field] == specs[1][field]
    assert {"CustomResourceDefinition", "Namespace", "ServiceAccount"} < set(plain)


def test_volumes_of_ones_own_come_on_top(helm_program: Path | str, repository: Path, tmp_path: Path) -> None:
    """For passwords in files, and certificates."""
    values = {
        "volumes": [{"name": "passwords", "secret": {"secretName": "tokens"}}],
        "volumeMounts": [{"name": "passwords", "mountPath": "/etc/poolbudget/passwords/shop"}],
    }
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    options = ("--kube-version=1.32.0", "--values", str(file))
    rendered = helm(helm_program, repository, "template", "poolbudget", CHART, *options)
    [made] = [item for item in yaml.safe_load_all(rendered) if item and item["kind"] == "Deployment"]
    spec = made["spec"]["template"]["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp", "passwords"]
    assert [item["name"] for item in spec["containers"][0]["volumeMounts"]] == ["tmp", "passwords"]


def test_helm_install_and_uninstall(
    helm_program: Path | str, repository: Path, cluster: Cluster, operator: OperatorProcess, namespace: str
) -> None:
    wait_for_default_service_account(cluster, namespace)
    options = ("-n", namespace, "--set", f"namespaces={{{namespace}}}", "--skip-crds")
    helm(helm_program, repository, "install", "trial", CHART, *options, kubeconfig=cluster.kubeconfig)
    found = cluster.get("deployment", "trial-poolbudget", f"--namespace={namespace}")
    assert f"--namespace={namespace}" in found["spec"]["template"]["spec"]["containers"][0]["args"]
    helm(helm_program, repository, "uninstall", "trial", "-n", namespace, kubeconfig=cluster.kubeconfig)
    assert "trial" not in cluster.kubectl("get", "clusterroles", "-o", "name")


def test_the_samples_are_accepted(cluster: Cluster, operator: OperatorProcess, repository: Path) -> None:
    text = cluster.kubectl("kustomize", str(repository / "deploy" / "samples"))
    manifests = list(yaml.safe_load_all(text))
    for manifest in manifests:
        manifest["metadata"]["namespace"] = "default"
    answer = cluster.kubectl(*("apply", "--dry-run=server", "-f", "-"), stdin=yaml.safe_dump_all(manifests))
    assert answer.count("(server dry run)") == 4


@pytest.mark.parametrize("folder", ["endpoints", "pools", "orders"])
def test_all_other_samples_are_accepted(
    cluster: Cluster, operator: OperatorProcess, repository: Path, folder: str
) -> None:
    """By the schema and its rules, as the API server applies them."""
    for file in sorted((repository / "deploy" / "samples" / folder).glob("*.yaml")):
        if file.name == "kustomization.yaml":
            continue
        manifests = list(yaml.safe_load_all(file.read_text()))
        for manifest in manifests:
            manifest["metadata"]["namespace"] = "default"
        answer = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(manifests))
        assert answer.count("(server dry run)") == len(manifests), file.name
