"""Sample manifests: each fits, says nothing worse than a remark, and gives the ConfigMaps of its golden file.

`make golden` writes the golden files anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from poolbudget.cli import main

REPOSITORY = Path(__file__).parents[2]
GOLDEN = REPOSITORY / "tests" / "golden"
FOLDER = REPOSITORY / "deploy" / "samples"
WITH_BUDGETS = [
    *sorted(FOLDER.glob("endpoints/*.yaml")),
    *sorted(FOLDER.glob("pools/*.yaml")),
    FOLDER / "orders",
]


def planned(*arguments: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(main, ["plan", "-o", "json", *arguments])
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.output)
    return found


def config_maps(sample: Path) -> dict[str, Any]:
    """What would be written for a sample, by ConfigMap."""
    return {
        f"{item['namespace']}/{target['configMap']['name']}": target["configMap"]["data"]
        for item in planned("-f", str(sample))
        for target in item["targets"]
    }


def name(sample: Path) -> str:
    return f"{sample.parent.name}-{sample.stem}"


@pytest.mark.parametrize("sample", WITH_BUDGETS, ids=name)
def test_golden_config_maps(sample: Path) -> None:
    golden = yaml.safe_load((GOLDEN / f"{name(sample)}.yaml").read_text())
    assert config_maps(sample) == golden


@pytest.mark.parametrize("sample", WITH_BUDGETS, ids=name)
def test_each_sample_is_as_it_should_be(sample: Path) -> None:
    for item in planned("-f", str(sample)):
        assert item["fits"]
        assert [finding for finding in item["findings"] if finding["severity"] != "Info"] == []


def test_there_is_no_golden_file_without_a_sample() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == {name(sample) for sample in WITH_BUDGETS}


def test_the_first_sample_fits() -> None:
    [item] = planned("-f", str(FOLDER))
    assert (item["name"], item["usable"]) == ("orders-primary", 155)
