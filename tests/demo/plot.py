"""The course as a picture: connections over time against usable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from demo.sampling import STAGES, Course
from demo.scene import USABLE

mpl.use("Agg")
# Text stays text and no date is written: the same course gives the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "poolbudget", "font.size": 11})

import matplotlib.pyplot as plt  # noqa: E402


@dataclass(frozen=True)
class Act:
    """What one column shows: the course, and what was done when (seconds)."""

    title: str
    course: Course
    marks: list[tuple[float, str]]


def draw(acts: Sequence[Act], path: Path) -> None:
    """Write an SVG with one column for each act: backends, allocated and usable above, pods below."""
    figure, axes = plt.subplots(
        *(2, len(acts)),
        figsize=(5.2 * len(acts), 5.6),
        sharex="col",
        sharey="row",
        height_ratios=(3, 1),
        layout="constrained",
        squeeze=False,
    )
    for column, act in enumerate(acts):
        _draw_one(act, axes[0][column], axes[1][column])
    axes[0][0].set_ylabel("connections")
    axes[1][0].set_ylabel("pods")
    most = max(act.course.worst[1] for act in acts)
    axes[0][0].set_ylim(0, max(1.25 * USABLE, 1.05 * most))
    axes[1][0].set_ylim(0, 1.8 * max(sum(view.pods.values()) for act in acts for view in act.course.views))
    axes[0][-1].legend(loc="lower right", frameon=False, fontsize=9)
    axes[1][-1].legend(loc="upper right", frameon=False, ncols=3, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def _draw_one(act: Act, above: Axes, below: Axes) -> None:
    views = [view for view in act.course.views if view.usable]
    times = [view.seconds for view in views]
    above.set_title(act.title, fontsize=11, loc="left")
    above.plot(times, [view.usable for view in views], color="#c0392b", linewidth=2, label="usable")
    if any(view.allocated for view in views):
        above.step(
            times,
            [view.allocated for view in views],
            where="post",
            color="#7f8c8d",
            linestyle="--",
            label="allocated",
        )
    counted = _thinned(act.course.backends)
    above.plot(*zip(*counted, strict=True), color="#2471a3", linewidth=2, label="backends counted")
    for row, (seconds, text) in enumerate(act.marks):
        for each in (above, below):
            each.axvline(seconds, color="#bbbbbb", linewidth=1)
        above.annotate(
            text, (seconds, 0.97 - 0.06 * (row % 2)), xycoords=("data", "axes fraction"), va="top", fontsize=9
        )
    below.stackplot(
        times,
        [[view.pods[stage] for view in views] for stage in reversed(STAGES)],
        labels=[stage.value.lower() for stage in reversed(STAGES)],
        colors=["#e59866", "#7fb3d5", "#d5d8dc"],
        step="post",
    )
    below.set_xlabel("seconds")
    for each in (above, below):
        each.spines[["top", "right"]].set_visible(False)


def _thinned(samples: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Every change, and the samples around it; a straight line needs two points."""
    kept = [
        sample
        for index, sample in enumerate(samples)
        if index in (0, len(samples) - 1)
        or samples[index - 1][1] != sample[1]
        or samples[index + 1][1] != sample[1]
    ]
    return [(round(seconds, 2), backends) for seconds, backends in kept]
