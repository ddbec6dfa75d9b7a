"""A pool's figures as Prometheus metrics. Needs the extra `metrics`: pip install poolbudget[metrics]."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from poolbudget.client.usage import Figures, figures

_GAUGES = (
    ("size", "size", "pool_size: connections that are kept open."),
    ("cap", "cap", "pool_size + max_overflow: the most connections."),
    ("checked_out", "checked_out", "Connections in use."),
    ("overflow", "overflow", "Connections open beyond pool_size."),
    ("waiting", "waiting", "Checkouts that wait for a connection."),
    ("revision", "revision", "The share that the pool obeys; it only grows."),
    ("acknowledged_revision", "acknowledged", "The share that the pool has said in the database."),
)
_COUNTERS = (
    ("waits", "waits", "Checkouts that had to wait."),
    ("wait_seconds", "waited_seconds", "Seconds that checkouts have waited, all together."),
    ("timeouts", "timeouts", "Checkouts that waited in vain."),
    ("resizes", "resizes", "Changes of the pool's size."),
)


class PoolCollector(Collector):
    """The pools of engines by name; figures are read when they are asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[str, weakref.ref[Engine]] = {}

    def add(self, name: str, engine: Engine | AsyncEngine) -> None:
        """Tell of an engine's pool from now on, until the engine is gone. Raises TypeError for a NullPool."""
        figures(engine)
        with self._lock:
            self._engines[name] = weakref.ref(
                engine.sync_engine if isinstance(engine, AsyncEngine) else engine
            )

    def collect(self) -> Iterable[Metric]:
        """All figures, labelled by the engines' names."""
        found = self._figures()
        for suffix, field, text in _GAUGES:
            gauge = GaugeMetricFamily(f"sqlalchemy_pool_{suffix}", text, labels=["engine"])
            for name, now in found.items():
                value = getattr(now, field)
                if value is not None:
                    gauge.add_metric([name], value)
            yield gauge
        for suffix, field, text in _COUNTERS:
            counter = CounterMetricFamily(f"sqlalchemy_pool_{suffix}", text, labels=["engine"])
            for name, now in found.items():
                counter.add_metric([name], getattr(now, field))
            yield counter

    def _figures(self) -> dict[str, Figures]:
        with self._lock:
            engines = {name: found() for name, found in self._engines.items()}
            self._engines = {name: found for name, found in self._engines.items() if found() is not None}
        return {name: figures(engine) for name, engine in engines.items() if engine is not None}


_collectors: weakref.WeakKeyDictionary[CollectorRegistry, PoolCollector] = weakref.WeakKeyDictionary()


def expose(
    engine: Engine | AsyncEngine, name: str = "default", registry: CollectorRegistry = REGISTRY
) -> None:
    """Add an engine's pool to a registry's metrics, labelled `engine="<name>"`.

    Raises TypeError for an engine without pool sizes (NullPool).
    """
    if registry not in _collectors:
        _collectors[registry] = PoolCollector()
        registry.register(_collectors[registry])
    _collectors[registry].add(name, engine)
