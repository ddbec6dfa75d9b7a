"""`make bench`: from a scaling to the new ConfigMap, against a bare watch-and-patch loop."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import click
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import bare_loop
from cluster.control_plane import ControlPlane, wait_for_default_service_account
from cluster.operator_process import OperatorProcess, install
from cluster.processes import Workspace
from poolbudget.cluster import paths
from poolbudget.cluster.api import Api

_OURS, _BARE = "operated", "bare"
_WARM_UP = 10
_PATIENCE = 30.0


class Arrivals:
    """Watches one ConfigMap and says when it changed."""

    def __init__(self, api: Api, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self.moments: asyncio.Queue[float] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the block runs."""
        listed = await self._api.get(paths.config_maps(self._namespace))
        task = asyncio.create_task(self._watch(listed["metadata"]["resourceVersion"]))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _watch(self, version: str) -> None:
        query = {"fieldSelector": f"metadata.name={self._name}"}
        while True:
            async for event in self._api.watch(paths.config_maps(self._namespace), version, query):
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self.moments.put_nowait(time.perf_counter())


async def scale(api: Api, namespace: str, arrivals: Arrivals, replicas: int) -> float:
    """Milliseconds from the acknowledged PATCH to the new ConfigMap on a watch."""
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/api/scale"
    await api.patch(path, {"spec": {"replicas": replicas}})
    acknowledged = time.perf_counter()
    async with asyncio.timeout(_PATIENCE):
        return (await arrivals.moments.get() - acknowledged) * 1000


async def measure(cluster: ControlPlane, scalings: int, console: Console) -> dict[str, list[float]]:
    """The two in turn, so that the machine's moods meet both alike."""
    api = await Api.from_kubeconfig(cluster.kubeconfig)
    results: dict[str, list[float]] = {_OURS: [], _BARE: []}
    ours, bare = Arrivals(api, _OURS, "api-pool"), Arrivals(api, _BARE, "api-pool")
    try:
        async with ours.watching(), bare.watching():
            steps = range(2, scalings + _WARM_UP + 2)
            for replicas in track(steps, "scaling", console=console, disable=not console.is_terminal):
                for namespace, arrivals in ((_OURS, ours), (_BARE, bare)):
                    took = await scale(api, namespace, arrivals, replicas)
                    if replicas >= _WARM_UP + 2:
                        results[namespace].append(took)
    finally:
        await api.close()
    return results


def prepare(cluster: ControlPlane) -> None:
    """Two alike workloads; one is bound by a PoolBudget. The surge is 0: each scaling is one pod."""
    for namespace in (_OURS, _BARE):
        cluster.kubectl("create", "namespace", namespace)
        wait_for_default_service_account(cluster, namespace)
        cluster.apply(_deployment(namespace))
    # So many connections that each of the scalings changes the sizes.
    cluster.apply(
        {
            "apiVersion": "poolbudget.io/v1alpha1",
            "kind": "PoolBudget",
            "metadata": {"name": "budget", "namespace": _OURS},
            "spec": {
                "endpoint": {"host": "database.invalid"},
                "capacity": {"maxConnections": 262143},
                "reserveFor": "CurrentPods",
                "targets": [{"name": "api"}],
            },
        }
    )
    for namespace in (_OURS, _BARE):
        cluster.kubectl(
            "wait", "--for=create", "configmap/api-pool", f"--namespace={namespace}", "--timeout=30s"
        )


def _deployment(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "api", "namespace": namespace},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app": "api"}},
            "template": {
                "metadata": {"labels": {"app": "api"}},
                "spec": {"containers": [{"name": "api", "image": "none"}]},
            },
        },
    }


def percentile(values: list[float], percent: int) -> float:
    """The value that `percent` of a hundred do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def report(results: dict[str, list[float]], memory: dict[str, float], console: Console) -> None:
    """Both rows, their ratio, and the memory."""
    table = Table(title="From the acknowledged scaling to the new ConfigMap on a watch (ms)")
    table.add_column("")
    for name in ("scalings", "p50", "p99", "worst"):
        table.add_column(name, justify="right")
    for label, key in (("poolbudget", _OURS), ("bare watch-and-patch loop", _BARE)):
        values = results[key]
        table.add_row(
            label,
            str(len(values)),
            *(f"{value:.1f}" for value in (percentile(values, 50), percentile(values, 99), max(values))),
        )
    table.add_row(
        "ratio",
        "",
        *(f"{percentile(results[_OURS], p) / percentile(results[_BARE], p):.2f}" for p in (50, 99)),
        "",
    )
    console.print(table)
    rows = Table(title="Resident memory (MiB)")
    rows.add_column("")
    rows.add_column("MiB", justify="right")
    for label, value in memory.items():
        rows.add_row(label, f"{value:.0f}")
    console.print(rows)


def _resident(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


@click.command()
@click.option("--scalings", default=200, show_default=True, help="How many scalings to time.")
def main(scalings: int) -> None:
    """Time the way from a scaling to the ConfigMap."""
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {psutil.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    )
    with Workspace("bench") as workspace:
        cluster = ControlPlane(workspace)
        install(cluster)
        operator = OperatorProcess(workspace, cluster)
        time.sleep(2)
        memory = {"idle, after the start": _resident(operator.pid)}
        # The same layout: a process of its own, with the same client.
        loop = workspace.start(
            "bare-loop",
            [sys.executable, bare_loop.__file__, _BARE, "api-pool"],
            environment={"KUBECONFIG": str(cluster.kubeconfig), "PYTHONUNBUFFERED": "1"},
        )
        workspace.wait_until("bare-loop", lambda: "watching" in workspace.tail("bare-loop"))
        prepare(cluster)
        results = asyncio.run(measure(cluster, scalings, console))
        memory[f"after {scalings} scalings, {2 * scalings} pods"] = _resident(operator.pid)
        memory["bare loop at the end"] = _resident(loop.pid)
    report(results, memory, console)


if __name__ == "__main__":
    main()
