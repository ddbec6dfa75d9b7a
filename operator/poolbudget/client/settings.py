"""Where the ConfigMap's keys are found: in the environment, or as files in a mounted folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

FOLDER = "/etc/poolbudget"
"""Where the volume is mounted, unless POOLBUDGET_FOLDER says otherwise."""

_MOST_BYTES = 65_536


def folder_of(folder: str | os.PathLike[str] | None) -> Path:
    """The folder to read: the one that is given, else POOLBUDGET_FOLDER, else /etc/poolbudget."""
    return Path(folder if folder is not None else os.environ.get("POOLBUDGET_FOLDER", FOLDER))


def read_settings(prefix: str, folder: Path) -> Mapping[str, str]:
    """All keys, from the environment if the sizes are there, else from the folder; empty if from neither.

    Never from both: one container start reads the keys of a ConfigMap from one moment.
    """

    def is_said(values: Mapping[str, str]) -> bool:
        return f"{prefix}POOL_SIZE" in values or f"{prefix}POOL_CLASS" in values

    if is_said(os.environ):
        return os.environ
    found = {}
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    for name in names:
        text = read_text(folder / name)
        if text is not None:
            found[name] = text.strip()
    return found if is_said(found) else {}


def read_text(path: Path) -> str | None:
    """A small file's text; None where there is none, or it is no text."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError:
        return None
    if len(content) > _MOST_BYTES:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
