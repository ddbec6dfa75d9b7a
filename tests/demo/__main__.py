"""`make demo`: scale 3 -> 9 -> 3 by the plain formula and by PoolBudget, and show what was really open."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cluster.backends import connections_refused
from cluster.operator_process import REPOSITORY
from demo.plot import Act, draw
from demo.sampling import STAGES, Course, Sampler, View
from demo.scene import BUDGET, CONFIG_MAP, IN_PLACE, INITIAL, USABLE, VARIANTS, Scene, Variant
from poolbudget.planning.inputs import PodStage

_ROWS = 14
_PATIENCE = 60.0
"""Seconds to wait for the cluster at each step."""


class TooSlowError(Exception):
    """The cluster did not get where it should."""


class Show:
    """The table that grows while the demonstration runs."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._live: Live | None = None
        self._rows: list[View] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Show the table while the block runs."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self.table(), console=self._console, refresh_per_second=4) as live:
            self._live = live
            yield
        self._live = None

    def add(self, view: View) -> None:
        """One more line, at most one a second."""
        if self._rows and view.seconds - self._rows[-1].seconds < 1:
            return
        self._rows.append(view)
        if self._live is not None:
            self._live.update(self.table())

    def table(self, rows: int = _ROWS) -> Table:
        """The last lines."""
        table = Table(title=self._title, title_justify="left")
        for name in ("time", "starting", "running", "terminating", "told", "allocated", "usable"):
            table.add_column(name, justify="right")
        table.add_column("backends", justify="right", style="bold")
        for view in self._rows[-rows:]:
            over = view.usable and view.backends > view.usable
            table.add_row(
                f"{view.seconds:.0f} s",
                *(str(view.pods[stage]) for stage in STAGES),
                view.sizes,
                str(view.allocated),
                str(view.usable),
                f"[red]{view.backends}[/red]" if over else str(view.backends),
            )
        return table

    def print_all(self) -> None:
        """Every line, for a log that cannot be updated in place."""
        if not self._console.is_terminal:
            self._console.print(self.table(rows=len(self._rows)))


class Play:
    """The steps of the demonstration, with one way to size pools."""

    def __init__(self, scene: Scene, variant: Variant, console: Console) -> None:
        self._scene = scene
        self.variant = variant
        self._console = console
        self.sampler = Sampler(scene, variant)
        self.show = Show(console, variant.title)
        self.refused = 0
        self.marks: list[tuple[float, str]] = []

    @property
    def course(self) -> Course:
        """All that was seen so far."""
        return self.sampler.course

    async def perform(self) -> None:
        """Start small, scale up, scale down, and settle."""
        before = self._refused()
        sampling = asyncio.create_task(self.sampler.run())
        try:
            with self.show.running():
                await self._until("3 pods hold their pools", lambda: self._settled(3), sampling)
                await self._for(3, sampling)
                # One step of the autoscaler after the other: it at most doubles the pods.
                self._mark("minReplicas 3 -> 6")
                await asyncio.to_thread(self._scene.scale, self.variant, 6, 9)
                await self._until("6 pods hold their pools", lambda: self._settled(6), sampling)
                await self._for(3, sampling)
                self._mark("minReplicas 6 -> 9")
                await asyncio.to_thread(self._scene.scale, self.variant, 9, 9)
                await self._until("9 pods hold their pools", lambda: self._settled(9), sampling)
                await self._for(5, sampling)
                self._mark("maxReplicas 9 -> 3")
                await asyncio.to_thread(self._scene.scale, self.variant, 3, 3)
                await self._until("3 pods are left", lambda: self._settled(3), sampling)
                await self._for(8, sampling)
        finally:
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
        self.refused = self._refused() - before
        self.show.print_all()

    @property
    def act(self) -> Act:
        """What the picture shows of it."""
        return Act(self.variant.title, self.course, self.marks)

    def in_use(self, replicas: int) -> float:
        """The most connections in use, as a part of usable, in the last seconds with so many pods."""
        times = [view.seconds for view in self.course.views if view.pods[PodStage.RUNNING] == replicas]
        ends = max(times, default=0.0)
        counts = [count for seconds, count in self.course.backends if ends - 3 <= seconds <= ends]
        return max(counts, default=0) / USABLE

    def _refused(self) -> int:
        return len(connections_refused(self._scene.workspace, self._scene.postgres))

    def _mark(self, text: str) -> None:
        self.marks.append((self.sampler.seconds(), text))

    def _settled(self, pods: int) -> bool:
        course = self.course
        others = course.pods(PodStage.STARTING) + course.pods(PodStage.TERMINATING)
        return course.pods(PodStage.RUNNING) == pods and others == 0 and course.latest is not None

    async def _until(self, what: str, reached: Callable[[], bool], sampling: asyncio.Task[None]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not reached():
            if time.monotonic() > deadline:
                raise TooSlowError(f"waited {_PATIENCE:.0f} s in vain until {what}")
            await self._for(0.5, sampling)

    async def _for(self, seconds: float, sampling: asyncio.Task[None]) -> None:
        """Let time pass, a line in the table each second."""
        end = self.sampler.seconds() + seconds
        while self.sampler.seconds() < end:
            if sampling.done():
                await sampling
            latest = self.course.latest
            if latest is not None:
                self.show.add(latest)
            await asyncio.sleep(0.1)


def set_up(scene: Scene, console: Console) -> None:
    """Start everything, saying how long each step took."""
    steps = (
        ("control plane", scene.start_control_plane),
        ("node", scene.start_node),
        ("database", scene.start_database),
        ("operator", scene.start_operator),
    )
    for name, step in steps:
        started = time.monotonic()
        with console.status(f"Starting: {name}") if console.is_terminal else contextlib.nullcontext():
            step()
        console.print(f"{name:<18}{time.monotonic() - started:6.1f} s")


def perform(scene: Scene, variant: Variant, console: Console) -> Play:
    """One way to size pools, with the whole database for it."""
    console.print(f"\n{variant.title}", style="bold")
    scene.apply_samples(variant)
    play = Play(scene, variant, console)
    asyncio.run(play.perform())
    if variant is not VARIANTS[-1]:
        scene.clear(variant)
    return play


def report(scene: Scene, plays: list[Play], console: Console, picture: Path) -> bool:
    """What an administrator would look at, the picture, and whether PoolBudget stayed within usable."""
    namespace = f"--namespace={IN_PLACE.namespace}"
    for arguments in (
        ("get", "poolbudgets", "--all-namespaces"),
        ("get", "configmap", CONFIG_MAP, f"--namespace={INITIAL.namespace}", "-o", "yaml"),
        ("get", "poolbudget", BUDGET, namespace, "-o", "jsonpath={.status.targets[0].sum}"),
    ):
        console.print(f"\n$ kubectl {' '.join(arguments)}", style="bold", soft_wrap=True)
        console.print(scene.cluster.kubectl(*arguments).rstrip(), highlight=False, soft_wrap=True)
    console.print(f"\n$ poolbudget check {scene.shown_url}", style="bold", soft_wrap=True)
    console.print(scene.check(), highlight=False, soft_wrap=True)
    draw([play.act for play in plays], picture)
    console.print()
    console.print(comparison(plays))
    console.print(f"Plot: {picture.relative_to(REPOSITORY)}", soft_wrap=True)
    ours = [play for play in plays if play.variant.has_budget]
    return all(play.course.worst[1] <= USABLE and not play.refused for play in ours)


def comparison(plays: list[Play]) -> Table:
    """The three ways beside each other; in use: in quiet, as a part of usable."""
    table = Table(title=f"3 -> 6 -> 9 -> 3 pods, {USABLE} usable connections", title_justify="left")
    table.add_column("")
    for name in ("most open", "refused", "in use, 3 pods", "in use, 9 pods"):
        table.add_column(name, justify="right")
    for play in plays:
        _, worst = play.course.worst
        most = f"[red]{worst}[/red]" if worst > USABLE or play.refused else str(worst)
        table.add_row(
            play.variant.title,
            most,
            str(play.refused),
            f"{play.in_use(3):.0%}",
            f"{play.in_use(9):.0%}",
        )
    return table


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running until Ctrl-C.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    default=REPOSITORY / "build" / "demo.svg",
    help="Where to write the plot.",
)
def main(keep: bool, picture: Path) -> None:
    """Set up a cluster, scale a workload up and down, and show what was really open."""
    console = Console(width=None if sys.stdout.isatty() else 100)
    # Also where the shell that started us in the background has SIGINT ignored.
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.default_int_handler)
    started = time.monotonic()
    try:
        with Scene() as scene:
            set_up(scene, console)
            plays = [perform(scene, variant, console) for variant in VARIANTS]
            # `make` starts this in tests/; a relative path means the repository.
            is_within = report(scene, plays, console, REPOSITORY / picture)
            console.print(f"Took {time.monotonic() - started:.0f} s.")
            if keep:
                _wait(scene, console)
        if not is_within:
            console.print("[red]Usable was exceeded.[/red]")
            sys.exit(1)
    except KeyboardInterrupt:
        console.print("Ended; nothing is left running.")
        sys.exit(130)


def _wait(scene: Scene, console: Console) -> None:
    console.print("\nStill running. In another terminal:", style="bold")
    console.print(f"export KUBECONFIG={scene.cluster.kubeconfig}", highlight=False, soft_wrap=True)
    console.print("Ctrl-C ends everything.")
    signal.pause()


if __name__ == "__main__":
    main()
