"""A real node: kubelet, containerd and runc, running real Python pods from the machine's own files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml

from cluster import packages
from cluster.binaries import program
from cluster.control_plane import ControlPlane
from cluster.processes import control_groups, free_port, pids_below

IMAGE = "poolbudget.io/test/python:local"
"""An image that holds one program; Python comes from the machine, mounted read-only."""

_PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/loopback": "containernetworking-plugins",
}


class Node:
    """One real node that has joined a control plane.

    It is called `localhost`, since the API server reaches the kubelet by its name (`kubectl logs`).
    """

    def __init__(self, control_plane: ControlPlane, name: str = "localhost", max_pods: int = 110) -> None:
        packages.ensure(_PROGRAMS)
        self.name = name
        self.control_plane = control_plane
        self._workspace = control_plane.workspace
        # Short, since containerd's sockets below it must fit into 107 bytes.
        self._folder = self._workspace.folder / "node"
        self._folder.mkdir()
        self._socket = self._folder / "c.sock"
        self._start_containerd()
        self._import_image()
        self._start_kubelet(max_pods)
        control_plane.kubectl("wait", "--for=create", f"node/{name}", "--timeout=60s")
        control_plane.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=60s")

    def kill_containers_of(self, pod_uid: str) -> int:
        """`kill -9` of every process in a pod's containers but the sandbox; returns how many."""
        killed = 0
        for pid in self.processes_of(pod_uid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        return killed

    def processes_of(self, pod_uid: str) -> list[int]:
        """Every process in a pod's containers but the sandbox."""
        of_node = control_groups(self._workspace.folder)
        of_pod = [
            Path(at) for group in of_node for at, _, _ in os.walk(group) if at.endswith(f"/pod{pod_uid}")
        ]
        # A process is in one group of each hierarchy of version 1.
        return sorted(
            pid for pid in {pid for group in of_pod for pid in pids_below(group)} if not _is_pause(pid)
        )

    def _start_containerd(self) -> None:
        network = self._folder / "cni"
        network.mkdir()
        loopback = {"cniVersion": "0.4.0", "name": "loopback", "plugins": [{"type": "loopback"}]}
        (network / "10-loopback.conflist").write_text(json.dumps(loopback))
        config = self._folder / "containerd.toml"
        config.write_text(
            f"""\
version = 2
root = "{self._folder}/root"
state = "{self._folder}/run"
[grpc]
  address = "{self._socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  # Where raising the score is forbidden, runc ends with "can't get final child's PID from pipe".
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{network}"
"""
        )
        self._workspace.start("containerd", ["containerd", "--config", config])
        self._workspace.wait_until("containerd", lambda: self._ctr("version").returncode == 0)

    def _ctr(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["ctr", "--address", str(self._socket), "--namespace", "k8s.io", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _import_image(self) -> None:
        archive = self._folder / "image.tar"
        write_image(archive, program("pause"))
        done = self._ctr("images", "import", str(archive))
        if done.returncode != 0:
            raise AssertionError(f"importing the test image failed: {done.stderr}")

    def _start_kubelet(self, max_pods: int) -> None:
        group = self._workspace.folder.name
        _make_control_groups(group)
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": "127.0.0.1",
            "port": free_port(),
            "healthzPort": 0,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.control_plane.authority_file)},
            },
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{group}",
            "containerRuntimeEndpoint": f"unix://{self._socket}",
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "imageGCHighThresholdPercent": 100,
            "localStorageCapacityIsolation": False,
            "makeIPTablesUtilChains": False,
            "maxPods": max_pods,
            "podLogsDir": str(self._folder / "logs"),
            "evictionHard": {"memory.available": "100Mi"},
            # Many pods start at once in tests; waiting in line would hide races.
            "serializeImagePulls": False,
        }
        path = self._folder / "kubelet.yaml"
        path.write_text(yaml.safe_dump(config))
        kubeconfig = self.control_plane.kubeconfig_for(f"system:node:{self.name}", "system:nodes")
        self._workspace.start(
            "kubelet",
            [
                program("kubelet"),
                f"--config={path}",
                f"--kubeconfig={kubeconfig}",
                f"--hostname-override={self.name}",
                f"--root-dir={self._folder / 'kubelet'}",
                f"--cert-dir={self._folder / 'pki'}",
            ],
        )


def write_image(archive: Path, pause: Path) -> None:
    """Write a docker-archive with one layer: the pause program."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("tmp", "etc", "usr", "var"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        program_file = tarfile.TarInfo("pause")
        program_file.size, program_file.mode = pause.stat().st_size, 0o755
        with pause.open("rb") as content:
            tar.addfile(program_file, content)
    layer_bytes = layer.getvalue()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/pause"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer_bytes).hexdigest()}"],
            },
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(archive, "w") as tar:
        for name, content_bytes in (
            ("config.json", config),
            ("layer.tar", layer_bytes),
            ("manifest.json", manifest),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content_bytes)
            tar.addfile(entry, io.BytesIO(content_bytes))


def on_this_machine(pod_spec: dict[str, Any], command: list[str]) -> dict[str, Any]:
    """A pod spec whose first container runs this machine's Python on the test node.

    `command` follows the interpreter; everything else of the spec stays.
    """
    paths = ["/usr", "/lib", "/lib64", "/bin", "/etc/ssl", sys.base_prefix, sys.prefix, _sources()]
    folders = sorted({path for path in paths if Path(path).exists()})
    names = [f"machine-{index}" for index in range(len(folders))]
    first, *others = pod_spec["containers"]
    container = {
        **first,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": [sys.executable, "-u", *command],
        "volumeMounts": [
            *first.get("volumeMounts", []),
            *(
                {"name": name, "mountPath": folder, "readOnly": True}
                for name, folder in zip(names, folders, strict=True)
            ),
        ],
    }
    volumes = [
        {"name": name, "hostPath": {"path": folder}} for name, folder in zip(names, folders, strict=True)
    ]
    return {
        **pod_spec,
        # No network plugin but loopback: pods use the machine's.
        "hostNetwork": True,
        "containers": [container, *others],
        "volumes": [*pod_spec.get("volumes", []), *volumes],
    }


def _sources() -> str:
    return str(Path(__file__).parents[2])


def _make_control_groups(name: str) -> None:
    """The kubelet wants its root group to exist in every hierarchy that it uses."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        hierarchies = [root]
        controllers = (root / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{controller}" for controller in controllers)
        (root / "cgroup.subtree_control").write_text(wanted)
    else:
        hierarchies = [path for path in root.iterdir() if (path / "tasks").exists()]
    for hierarchy in hierarchies:
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (group / setting).exists():
                (group / setting).write_text((hierarchy / setting).read_text())


def _is_pause(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/pause")
    except OSError:
        return True
