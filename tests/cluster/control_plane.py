"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler on free loopback ports."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import trustme
import yaml

from cluster.binaries import programs
from cluster.processes import Workspace, free_port

Manifest = dict[str, Any]

_SERVICE_RANGE = "10.96.0.0/16"


class Cluster:
    """A cluster to talk to, however it came about."""

    def __init__(self, kubeconfig: Path, kubectl_program: Path, kind: str) -> None:
        self.kubeconfig = kubeconfig
        self.kubectl_program = kubectl_program
        self.kind = kind

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the cluster's administrator; returns what it printed.

        Raises AssertionError with kubectl's own words where it fails and `check` is set.
        """
        done = subprocess.run(
            [str(self.kubectl_program), f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def apply(self, *manifests: Manifest, check: bool = True) -> str:
        """Apply manifests, as `kubectl apply -f` does."""
        return self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests), check=check)

    def get(self, *arguments: str) -> Any:
        """`kubectl get ... -o json`, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))


class ControlPlane(Cluster):
    """The real control plane, TLS and RBAC on, started in a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.binaries = programs()
        folder = workspace.folder / "control-plane"
        folder.mkdir()
        self._folder = folder
        self._authority = trustme.CA()
        self.port = free_port()
        self._etcd = f"http://127.0.0.1:{free_port()}"
        self._write_certificates()
        self._administrator = folder / "kubernetes-admin.pem"
        super().__init__(
            kubeconfig=self.kubeconfig_for("kubernetes-admin", "system:masters"),
            kubectl_program=self.binaries["kubectl"],
            kind="control plane",
        )
        self._start()

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority_file(self) -> Path:
        """The certificate that the API server's is signed with."""
        return self._folder / "ca.pem"

    def kubeconfig_for(self, user: str, *groups: str) -> Path:
        """A kubeconfig whose client certificate says this user and these groups."""
        certificate = self._folder / f"{user.replace(':', '-')}.pem"
        # trustme takes one organization; Kubernetes reads it as the group.
        group = groups[0] if groups else None
        issued = self._authority.issue_cert(
            f"{user.replace(':', '-')}.client", common_name=user, organization_name=group
        )
        issued.private_key_and_cert_chain_pem.write_to_path(certificate)
        user_data = {"client-certificate": str(certificate), "client-key": str(certificate)}
        return self.write_kubeconfig(user.replace(":", "-"), user_data)

    def write_kubeconfig(self, name: str, user: Manifest) -> Path:
        """Write `<name>.kubeconfig` for this cluster and the given credentials."""
        path = self._folder / f"{name}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": self.url, "certificate-authority": str(self.authority_file)},
                }
            ],
            "users": [{"name": name, "user": user}],
        }
        path.write_text(yaml.safe_dump(config))
        path.chmod(0o600)
        return path

    def restart_api_server(self) -> None:
        """End the API server and start it again, on the same port with the same data."""
        self.workspace.stop("kube-apiserver")
        self._start_api_server()

    def _write_certificates(self) -> None:
        self._authority.cert_pem.write_to_path(self.authority_file)
        server = self._authority.issue_cert("127.0.0.1", "localhost", "kubernetes", "10.96.0.1")
        server.cert_chain_pems[0].write_to_path(self._folder / "server.pem")
        server.private_key_pem.write_to_path(self._folder / "server.key")

    def _start(self) -> None:
        self._start_etcd()
        self._start_api_server()
        self._start_controllers()

    def _start_etcd(self) -> None:
        peer = f"http://127.0.0.1:{free_port()}"
        command = [
            self.binaries["etcd"],
            f"--data-dir={self._folder / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            # The data goes with the folder: waiting for the disk would only slow the tests down.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]
        self.workspace.start("etcd", command)
        self.workspace.wait_until("etcd", lambda: _answers(f"{self._etcd}/health"))

    def _start_api_server(self) -> None:
        key = self._folder / "server.key"
        command = [
            self.binaries["kube-apiserver"],
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            # Pods reach the API server by this address; on loopback the server would not give one.
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            f"--secure-port={self.port}",
            f"--cert-dir={self._folder}",
            f"--tls-cert-file={self._folder / 'server.pem'}",
            f"--tls-private-key-file={key}",
            f"--client-ca-file={self.authority_file}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={_SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={self._administrator}",
            f"--kubelet-client-key={self._administrator}",
            "--kubelet-preferred-address-types=Hostname",
        ]
        self.workspace.start("kube-apiserver", command)
        self.workspace.wait_until("kube-apiserver", self._is_ready)

    def _start_controllers(self) -> None:
        manager = self.kubeconfig_for("system:kube-controller-manager")
        scheduler = self.kubeconfig_for("system:kube-scheduler")
        self.workspace.start(
            "kube-controller-manager",
            [
                self.binaries["kube-controller-manager"],
                f"--kubeconfig={manager}",
                f"--service-account-private-key-file={self._folder / 'server.key'}",
                f"--root-ca-file={self.authority_file}",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                f"--secure-port={free_port()}",
                "--bind-address=127.0.0.1",
                # The autoscaler's 15 s would be most of a test's time; without metrics it still
                # obeys changed bounds at once.
                "--horizontal-pod-autoscaler-sync-period=1s",
                "--kube-api-qps=200",
                "--kube-api-burst=400",
                f"--cert-dir={self._folder / 'manager'}",
            ],
        )
        self.workspace.start(
            "kube-scheduler",
            [
                self.binaries["kube-scheduler"],
                f"--kubeconfig={scheduler}",
                f"--authentication-kubeconfig={scheduler}",
                f"--authorization-kubeconfig={scheduler}",
                "--leader-elect=false",
                f"--secure-port={free_port()}",
                "--bind-address=127.0.0.1",
                f"--cert-dir={self._folder / 'scheduler'}",
            ],
        )

    def _is_ready(self) -> bool:
        context = ssl.create_default_context(cafile=self.authority_file)
        return _answers(f"{self.url}/readyz", context)


def _answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for_default_service_account(cluster: Cluster, namespace: str) -> None:
    """Pods cannot be created before the controller has made it."""
    cluster.kubectl(
        "wait", "--for=create", "serviceaccount/default", f"--namespace={namespace}", "--timeout=60s"
    )
