"""`poolbudget simulate`, as people use it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from poolbudget.cli import main
from poolbudget.planning import expected

SCENARIO = """
name: mine
usable: 40
duration: 60
targets:
- {name: api, replicas: 2, starting: [0.5, 1]}
actions:
- {at: 20, do: scale, to: 4}
"""


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", "--processes", "1", *arguments])


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO)
    return str(path)


def test_a_scenario_of_ones_own_as_a_table(mine: str) -> None:
    result = simulate("-f", mine, "-n", "2")
    assert result.exit_code == 0, result.output
    assert "2 schedules of 1 scenarios, seeds 0 to 1" in result.output
    for policy in ("formula", "static-peak", "poolbudget"):
        assert policy in result.output
    assert max(len(line) for line in result.output.splitlines()) <= 100


def test_as_json(mine: str) -> None:
    result = simulate("-f", mine, "-n", "1", "--policy", "poolbudget", "-o", "json")
    [row] = json.loads(result.stdout)
    assert (row["scenario"], row["policy"], row["schedules"]) == ("mine", "poolbudget", 1)
    assert row["withOverrun"] == 0
    assert row["quietShare"] >= 0.97


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_plot(mine: str, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"course.{ending}"
    assert simulate("-f", mine, "-n", "1", "--plot", str(path)).exit_code == 0
    assert path.stat().st_size > 5000


def test_what_comes_along_is_listed() -> None:
    result = simulate("--list")
    assert "surge-fourth-pod" in result.output
    assert "openfga/helm-charts#293" in result.output


def test_a_trace(mine: str) -> None:
    result = simulate("-f", mine, "--trace")
    assert "replicas 2 -> 4" in result.output
    assert "a container reads" in result.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("usable: [", "not YAML"),
        ("name: x\nusable: 0\ntargets: []", "usable"),
        ("name: x\nusable: 9\ntargets: [{name: a}]\nactions: [{at: 1, do: dance}]", "actions.0.do"),
        (
            "name: x\nusable: 9\ntargets: [{name: a}]\nactions: [{at: 1, do: crash, target: b}]",
            "no target named b",
        ),
        ("name: x\nusable: 9\ntargets: [{name: a, colour: red}]", "targets.0.colour"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    result = simulate("-f", str(path))
    assert result.exit_code == 1
    assert words in result.output
    assert str(path) in result.output.replace("\n", "")


def test_unknown_names_are_said() -> None:
    assert "no scenario nothing; there are blue-green-cutover" in simulate("-s", "nothing").output
    assert "No such file" in simulate("-f", "/nowhere.yaml").output


def test_a_failure_ends_with_1_a_trace_and_the_command_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(expected, "_possible_new", lambda *_: 0)
    monkeypatch.setattr(expected, "_replaceable", lambda *_: 0)
    monkeypatch.setattr("poolbudget.simulation.suite.ProcessPoolExecutor", _InThisProcess)
    result = simulate("-s", "tight", "--seed", "25", "-n", "15", "--policy", "poolbudget")
    assert result.exit_code == 1
    assert "OVER:" in result.output
    assert "again: poolbudget simulate --scenario tight --policy poolbudget -n 1 --seed" in result.output


class _InThisProcess:
    """A pool of no processes, so that what is patched here is patched there."""

    def __init__(self, _: int | None) -> None:
        self.map = map

    def __enter__(self) -> _InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        return None
