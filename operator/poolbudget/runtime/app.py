"""Puts the parts together and runs them under kopf."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kopf
import prometheus_client

from poolbudget.cluster import config_map
from poolbudget.cluster.api import MANAGER, Api
from poolbudget.planning.charges import Assumptions
from poolbudget.runtime.controller import Controller
from poolbudget.runtime.handlers import Handlers, register
from poolbudget.runtime.metrics import Metrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How the operator runs. No namespaces: the whole cluster. A port of 0: not served."""

    namespaces: Sequence[str] = ()
    address: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus reach the pod by its address
    health_port: int = 8081
    metrics_port: int = 8080
    assumptions: Assumptions = field(default_factory=Assumptions)
    password_folder: Path = Path("/etc/poolbudget/passwords")


class Operator:
    """One running operator."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)
        self._metrics = Metrics(self._registry)
        self._handlers: Handlers | None = None
        self._stack = contextlib.AsyncExitStack()
        self._running: asyncio.Task[None] | None = None
        self._stopping: asyncio.Event | None = None
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Raises what ended the controller, if anything did."""
        options = self._options
        health = f"http://{options.address}:{options.health_port}/healthz"
        self._stopping = asyncio.Event()
        await kopf.operator(
            stop_flag=self._stopping,
            registry=self._kopf_registry(),
            settings=_settings(),
            standalone=True,
            # kopf would ask for the user's name, which a container's user id need not have.
            identity=socket.gethostname(),  # type: ignore[arg-type]
            clusterwide=not options.namespaces,
            namespaces=list(options.namespaces),
            liveness_endpoint=health if options.health_port else None,
        )
        if self._error is not None:
            raise self._error

    def _kopf_registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.startup(registry=registry)(self._start)
        kopf.on.cleanup(registry=registry)(self._stop)
        kopf.on.login(registry=registry)(_login)
        kopf.on.probe(id="controller", registry=registry)(self._alive)
        register(registry, self._current_handlers)
        return registry

    def _current_handlers(self) -> Handlers:
        if self._handlers is None:
            raise RuntimeError("kopf handled an event before the start was over")
        return self._handlers

    async def _start(self, **_: Any) -> None:
        api = await Api.connect()
        self._stack.push_async_callback(api.close)
        controller = Controller(
            api,
            list(self._options.namespaces),
            self._metrics,
            self._options.assumptions,
            self._options.password_folder,
        )
        self._stack.push_async_callback(controller.close)
        self._handlers = Handlers(controller)
        await self._stack.enter_async_context(self._serve_metrics())
        self._running = asyncio.create_task(controller.run(), name="controller")
        self._running.add_done_callback(self._end_with_it)

    async def _stop(self, **_: Any) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await self._stack.aclose()
        if self._stopping is not None:
            # kopf waits some seconds for whoever still waits for this flag.
            self._stopping.set()

    def _end_with_it(self, task: asyncio.Task[None]) -> None:
        """Without its controller the operator is of no use: better restarted."""
        if not task.cancelled() and self._stopping is not None:
            self._error = task.exception()
            self._stopping.set()

    async def _alive(self, **_: Any) -> str:
        """Kopf's health endpoint fails when this raises: the kubelet restarts the container."""
        if self._running is None or self._running.done():
            raise RuntimeError("the controller has ended")
        return "running"

    @contextlib.asynccontextmanager
    async def _serve_metrics(self) -> AsyncIterator[None]:
        if not self._options.metrics_port:
            yield
            return
        server, thread = prometheus_client.start_http_server(
            self._options.metrics_port, self._options.address, self._registry
        )
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """The same credentials as ours: kubeconfig or service account, as the kubernetes package says."""
    return kopf.login_via_client(**kwargs)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # Our Events are posted by ourselves, on new sizes only.
    settings.posting.enabled = False
    # Other people's ConfigMaps are none of our business, and many.
    settings.watching.label_selectors["", "v1", "configmaps"] = f"{config_map.MANAGED_BY}={MANAGER}"
    return settings
