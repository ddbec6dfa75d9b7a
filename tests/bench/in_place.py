"""`make bench-in-place`: how long pods on a real node take from a scaling to their shares.

Every slot is busy with transactions of 0.3 s. Annotations are watched, tags are read in the database every
20 ms; all times are until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import click
from rich.console import Console
from rich.table import Table

from cluster.backends import connections_refused
from demo.scene import BUDGET, IN_PLACE, USABLE, WORKLOAD, Scene
from poolbudget.cluster import paths
from poolbudget.cluster.api import Api
from poolbudget.cluster.pod_annotation import annotation_of, read_grant
from poolbudget.tag import pod_part, read_tag

_EVERY = 0.02
_PATIENCE = 60.0


@dataclass
class Pod:
    """What was seen of one pod; times are seconds of a monotonic clock."""

    created: float
    told: list[tuple[float, int, int]] = field(default_factory=list)
    seen: dict[int, float] = field(default_factory=dict)
    first_seen: float | None = None
    gone: float | None = None

    @property
    def revision(self) -> int:
        """What it was told last."""
        return self.told[-1][1] if self.told else 0


class Watcher:
    """Follows annotations and tags until cancelled."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.pods: dict[str, Pod] = {}
        self.most = 0
        self.now = 0

    async def run(self) -> None:
        """Both at the same time."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._annotations())
            group.create_task(self._tags())

    async def _annotations(self) -> None:
        api = await Api.from_kubeconfig(self._scene.cluster.kubeconfig)
        try:
            listed = await api.get(paths.pods(IN_PLACE.namespace))
            for item in listed["items"]:
                self._note(item)
            version = listed["metadata"]["resourceVersion"]
            while True:
                async for event in api.watch(paths.pods(IN_PLACE.namespace), version, {}):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] == "DELETED":
                        self.pods[pod_part(event["object"]["metadata"]["uid"])].gone = time.monotonic()
                    elif event["type"] != "BOOKMARK":
                        self._note(event["object"])
        finally:
            await api.close()

    def _note(self, item: dict[str, Any]) -> None:
        metadata, now = item["metadata"], time.monotonic()
        pod = self.pods.setdefault(pod_part(metadata["uid"]), Pod(now))
        grant = read_grant((metadata.get("annotations") or {}).get(annotation_of(BUDGET), ""))
        if grant is not None and grant.revision > pod.revision:
            pod.told.append((now, grant.revision, grant.sizes.cap))

    async def _tags(self) -> None:
        connection = await asyncpg.connect(self._scene.postgres.url())
        try:
            while True:
                rows = await connection.fetch(
                    "SELECT application_name FROM pg_stat_activity WHERE usename = 'orders'"
                )
                now = time.monotonic()
                self.now = len(rows)
                self.most = max(self.most, self.now)
                for tag in filter(None, (read_tag(row[0]) for row in rows)):
                    pod = self.pods.get(tag.pod)
                    if pod is not None:
                        pod.first_seen = pod.first_seen or now
                        pod.seen.setdefault(tag.revision, now)
                await asyncio.sleep(_EVERY)
        finally:
            await connection.close()

    def living(self) -> list[Pod]:
        """Pods that are not gone."""
        return [pod for pod in self.pods.values() if pod.gone is None]

    async def settled(self, replicas: int) -> None:
        """Wait until everybody has his share. Raises TimeoutError."""
        async with asyncio.timeout(_PATIENCE):
            while not self._is_settled(replicas):  # noqa: ASYNC110 - what happens elsewhere sets no Event
                await asyncio.sleep(_EVERY)

    def _is_settled(self, replicas: int) -> bool:
        """So many pods, each with its share, and all of that in use."""
        pods = self.living()
        caps = [pod.told[-1][2] for pod in pods if pod.told]
        return (
            len(pods) == len(caps) == replicas
            and max(caps) - min(caps) <= 1
            and sum(caps) >= 0.9 * USABLE
            and all(pod.revision in pod.seen for pod in pods)
        )


@dataclass
class Step:
    """Seconds, of one scaling."""

    first_write: float
    to_pod: list[float]
    acknowledged: float
    fair: float
    revisions: int


async def step(scene: Scene, watcher: Watcher, before: int, replicas: int) -> Step:
    """Scale, and wait until everybody has his share."""
    old = watcher.living()
    told = {id(pod): len(pod.told) for pod in watcher.pods.values()}
    api = await Api.from_kubeconfig(scene.cluster.kubeconfig)
    try:
        path = f"/apis/apps/v1/namespaces/{IN_PLACE.namespace}/deployments/{WORKLOAD}/scale"
        await api.patch(path, {"spec": {"replicas": replicas}})
        began = time.monotonic()
        await watcher.settled(replicas)
    finally:
        await api.close()
    changes = [(pod, change) for pod in watcher.pods.values() for change in pod.told[told.get(id(pod), 0) :]]
    to_pod = [
        pod.seen[change[1]] - change[0]
        for pod, change in changes
        if change[1] in pod.seen and pod.first_seen is not None and pod.first_seen < change[0]
    ]
    pods = watcher.living()
    shrunk = [pod for pod in old if pod.gone is None and replicas > before]
    last_up = max(
        [pod.first_seen or 0.0 for pod in pods] + [pod.gone for pod in watcher.pods.values() if pod.gone]
    )
    return Step(
        first_write=min(change[0] for _, change in changes) - began,
        to_pod=to_pod,
        acknowledged=max((pod.seen[pod.revision] - began for pod in shrunk), default=0.0),
        fair=max(pod.seen[pod.revision] for pod in pods) - max(last_up, began),
        revisions=max(len(pod.told) - told.get(id(pod), 0) for pod in pods),
    )


async def measure(scene: Scene, rounds: int, most: int) -> tuple[list[Step], list[Step], int]:
    """Up and down, so many times; the autoscaler is out of the way."""
    watcher = Watcher(scene)
    watching = asyncio.create_task(watcher.run())
    up, down = [], []
    try:
        await watcher.settled(3)
        for _ in range(rounds):
            await asyncio.sleep(2)
            up.append(await step(scene, watcher, 3, most))
            await asyncio.sleep(2)
            down.append(await step(scene, watcher, most, 3))
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    return up, down, watcher.most


def show(console: Console, steps: dict[str, list[Step]]) -> None:
    """Seconds, of all rounds."""
    table = Table(title="seconds, median / 90 % / 99 % / worst", title_justify="left")
    table.add_column("")
    rows = {
        "scaling -> first annotation": lambda step: [step.first_write],
        "annotation -> said in the database": lambda step: step.to_pod,
        "scaling -> all old pods have said so": lambda step: [step.acknowledged],
        "all at their share, after the last pod came or went": lambda step: [step.fair],
        "most shares that one pod was told": lambda step: [float(step.revisions)],
    }
    for name in steps:
        table.add_column(name, justify="right")
    for name, values in rows.items():
        cells = []
        for each in steps.values():
            found = sorted(value for item in each for value in values(item))
            parts = (found[len(found) * part // 100] for part in (50, 90, 99))
            cells.append(" / ".join(f"{value:.2f}" for value in (*parts, found[-1])))
        table.add_row(name, *cells)
    console.print(table)


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Scalings up and down.")
@click.option("--most", default=12, show_default=True, help="Pods after a scaling up, from 3.")
def main(rounds: int, most: int) -> None:
    """Scale 3 pods up and down on a real node, and time everything on the way to their shares."""
    console = Console(width=100)
    with Scene() as scene:
        scene.start_control_plane()
        scene.start_node()
        scene.start_database()
        scene.start_operator()
        scene.apply_samples(IN_PLACE)
        scene.cluster.kubectl("delete", "hpa", WORKLOAD, f"--namespace={IN_PLACE.namespace}")
        scene.cluster.kubectl(
            "scale", f"deployment/{WORKLOAD}", "--replicas=3", f"--namespace={IN_PLACE.namespace}"
        )
        up, down, open_at_once = asyncio.run(measure(scene, rounds, most))
        show(console, {f"3 -> {most}": up, f"{most} -> 3": down})
        refused = len(connections_refused(scene.workspace, scene.postgres))
        console.print(f"{open_at_once} of {USABLE} open at most, {refused} refused ({rounds} rounds)")
        log = scene.operator.log()
    if refused or open_at_once > USABLE:
        console.print(log[-3000:])
        raise SystemExit(1)


if __name__ == "__main__":
    main()
