"""The course as a picture: connections over time against usable."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from demo.sampling import STAGES, Course

mpl.use("Agg")
# Text stays text and no date is written: the same course gives the same file.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "poolbudget", "font.size": 11})

import matplotlib.pyplot as plt  # noqa: E402


def draw(course: Course, marks: list[tuple[float, str]], path: Path) -> None:
    """Write an SVG with backends, allocated and usable above, pods below."""
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(10, 5.6), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    views = [view for view in course.views if view.usable]
    times = [view.seconds for view in views]
    above.plot(times, [view.usable for view in views], color="#c0392b", linewidth=2, label="usable")
    above.step(
        times,
        [view.allocated for view in views],
        where="post",
        color="#7f8c8d",
        linestyle="--",
        label="allocated",
    )
    counted = _thinned(course.backends)
    above.plot(*zip(*counted, strict=True), color="#2471a3", linewidth=2, label="backends counted")
    above.set_ylabel("connections")
    above.set_ylim(0, max(view.usable for view in views) * 1.25)
    for row, (seconds, text) in enumerate(marks):
        for axes in (above, below):
            axes.axvline(seconds, color="#bbbbbb", linewidth=1)
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
    below.set_ylabel("pods")
    below.set_ylim(0, 1.7 * max(sum(view.pods.values()) for view in views))
    below.set_xlabel("seconds")
    above.legend(loc="lower right", frameon=False, ncols=3)
    below.legend(loc="upper right", frameon=False, ncols=3, fontsize=9)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


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
