"""`make golden`: write the golden files of the sample manifests anew."""

from __future__ import annotations

import yaml

from unit.test_samples import GOLDEN, WITH_BUDGETS, config_maps, name


def main() -> None:
    """One file for each sample."""
    for old in GOLDEN.glob("*.yaml"):
        old.unlink()
    for sample in WITH_BUDGETS:
        text = yaml.safe_dump(config_maps(sample), sort_keys=True, width=110)
        (GOLDEN / f"{name(sample)}.yaml").write_text(text)


if __name__ == "__main__":
    main()
