"""kind, where a Docker engine answers: the same tests on somebody's own cluster tool."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from pathlib import Path

from cluster.control_plane import Cluster

CONFIG = Path(__file__).parent / "kind.yaml"


class KindFailed(Exception):
    """kind or docker said no; the message carries its words."""


def docker_answers() -> bool:
    """Whether a Docker engine can be reached and kind is there to use it."""
    if shutil.which("docker") is None or shutil.which("kind") is None:
        return False
    done = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30)
    return done.returncode == 0


class KindCluster(Cluster):
    """A cluster of its own name, deleted at the end."""

    def __init__(self, folder: Path) -> None:
        self.name = f"poolbudget-{uuid.uuid4().hex[:8]}"
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise KindFailed("kind needs kubectl on PATH")
        super().__init__(folder / f"{self.name}.kubeconfig", Path(kubectl), kind="kind")
        self._run("create", "cluster", f"--config={CONFIG}", "--wait=120s", f"--kubeconfig={self.kubeconfig}")

    def load_image(self, archive: Path) -> None:
        """Make an image archive known to the cluster's node."""
        self._run("load", "image-archive", str(archive))

    def close(self) -> None:
        """Delete the cluster; its containers go with it."""
        self._run("delete", "cluster", f"--kubeconfig={self.kubeconfig}")

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            ["kind", *arguments, f"--name={self.name}"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise KindFailed(f"kind {' '.join(arguments)}: {done.stderr.strip()}")
