"""What has to hold for the repository itself."""

import operator
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import yaml

from poolbudget.resource.conditions import Reason
from poolbudget.resource.crd import custom_resource_definition


def test_operator_is_the_standard_librarys(repository: Path) -> None:
    """The folder operator/ in the root must not hide the module of that name."""
    assert not (repository / "operator" / "__init__.py").exists()
    standard = Path(sysconfig.get_paths()["stdlib"]) / "operator.py"
    assert operator.__file__ is not None
    assert Path(operator.__file__).samefile(standard)
    code = "import operator; print(operator.__file__); operator.itemgetter(0)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).samefile(standard)


def test_the_crd_file_is_made_from_the_models(repository: Path) -> None:
    for file in (
        repository / "crds" / "poolbudgets.poolbudget.io.yaml",
        repository / "charts" / "poolbudget" / "crds" / "poolbudgets.poolbudget.io.yaml",
    ):
        assert yaml.safe_load(file.read_text()) == custom_resource_definition(), "run `make crd`"


def test_every_field_has_a_description() -> None:
    def undescribed(node: dict[str, object], path: str) -> list[str]:
        found: list[str] = []
        properties = node.get("properties", {})
        assert isinstance(properties, dict)
        for name, child in properties.items():
            if not child.get("description"):
                found.append(f"{path}.{name}")
            found += undescribed(child.get("items", child), f"{path}.{name}")
        return found

    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert undescribed(schema["properties"]["spec"], "spec") == []
    assert undescribed(schema["properties"]["status"], "status") == []


def test_every_reason_is_documented(repository: Path) -> None:
    text = (repository / "docs" / "conditions.md").read_text().partition("## Reasons")[2]
    documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert documented == {reason.value for reason in Reason}


def test_requirements_name_no_download_address(repository: Path) -> None:
    for name in ("requirements.txt", "requirements-operator.txt"):
        text = (repository / name).read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|index-url|find-links", text)


def test_the_image_gets_the_versions_that_were_tested(repository: Path) -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==\S+", (repository / name).read_text(), re.MULTILINE))

    assert pins("requirements-operator.txt") <= pins("requirements.txt")
