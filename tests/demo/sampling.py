"""Counts what is really there: backends in pg_stat_activity, pods, and what the operator says."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import asyncpg

from demo.scene import BUDGET, CONFIG_MAP, USABLE, Scene, Variant
from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, Object
from poolbudget.cluster.pod_annotation import read_grant, shares_of
from poolbudget.cluster.pod_records import stage
from poolbudget.planning.inputs import PodStage

STAGES = (PodStage.STARTING, PodStage.RUNNING, PodStage.TERMINATING)
"""What the pods of the API server can be; a lost one is no longer there."""

COUNT_EVERY = 0.02
"""Seconds between two counts of backends."""

LOOK_EVERY = 0.25
"""Seconds between two looks at pods and the PoolBudget."""


@dataclass(frozen=True)
class View:
    """One look at the cluster. Times are seconds since the start of the sampling."""

    seconds: float
    pods: dict[PodStage, int]
    sizes: str
    allocated: int
    usable: int
    backends: int


@dataclass
class Course:
    """All that was seen."""

    backends: list[tuple[float, int]] = field(default_factory=list)
    views: list[View] = field(default_factory=list)

    @property
    def latest(self) -> View | None:
        """The last look."""
        return self.views[-1] if self.views else None

    @property
    def worst(self) -> tuple[float, int]:
        """When the most backends were open, and how many."""
        return max(self.backends, key=lambda sample: sample[1])

    def pods(self, stage: PodStage) -> int:
        """Pods of a stage at the last look."""
        return 0 if self.latest is None else self.latest.pods[stage]


class Sampler:
    """Fills a course until cancelled."""

    def __init__(self, scene: Scene, variant: Variant) -> None:
        self.course = Course()
        self._scene = scene
        self._variant = variant
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Since the start of the sampling."""
        return time.monotonic() - self._start

    async def run(self) -> None:
        """Count and look, side by side."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._count())
            group.create_task(self._look())

    async def _count(self) -> None:
        # As the superuser, on a slot that the server keeps for superusers.
        connection = await asyncpg.connect(self._scene.postgres.url())
        try:
            while True:
                backends = await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'orders' "
                    "AND application_name LIKE 'orders-api-%'"
                )
                self.course.backends.append((self.seconds(), backends))
                await asyncio.sleep(COUNT_EVERY)
        finally:
            await connection.close()

    async def _look(self) -> None:
        api = await Api.from_kubeconfig(self._scene.cluster.kubeconfig)
        try:
            while True:
                self.course.views.append(await self._view(api))
                await asyncio.sleep(LOOK_EVERY)
        finally:
            await api.close()

    async def _view(self, api: Api) -> View:
        namespace = self._variant.namespace
        pods, budget, config_map = await asyncio.gather(
            api.get(paths.pods(namespace)),
            api.find(paths.budget(namespace, BUDGET)),
            api.find(paths.config_map(namespace, CONFIG_MAP)),
        )
        stages = [stage(pod) for pod in pods["items"]]
        status = (budget or {}).get("status") or {}
        data = (config_map or {}).get("data") or {}
        return View(
            seconds=self.seconds(),
            pods={kind: stages.count(kind) for kind in STAGES},
            sizes=_told(pods["items"]) or f"{data.get('POOL_SIZE', '-')}/{data.get('MAX_OVERFLOW', '-')}",
            allocated=status.get("allocated", 0),
            usable=status.get("usable", 0) if self._variant.has_budget else USABLE,
            backends=self.course.backends[-1][1] if self.course.backends else 0,
        )


def _told(pods: list[Object]) -> str:
    """The shares of pods that follow them, such as `12 to 13`."""
    found = [read_grant(text) for pod in pods for _, text in shares_of(pod["metadata"])]
    caps = sorted(grant.sizes.cap for grant in found if grant is not None)
    return "" if not caps else f"{caps[0]} to {caps[-1]}" if caps[0] != caps[-1] else str(caps[0])
