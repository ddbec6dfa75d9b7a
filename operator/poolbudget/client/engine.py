"""Engines as SQLAlchemy makes them, with the sizes and settings that PoolBudget gave to this pod."""

from __future__ import annotations

import logging
import os
import re
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy
import sqlalchemy.ext.asyncio
from sqlalchemy import Engine, event, pool
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from poolbudget.client.environment import PoolSizesError
from poolbudget.client.following import MOST_WAIT_FOR_FORMER, Following, Source
from poolbudget.client.options import SIZES as _SIZES
from poolbudget.client.options import driver_of, engine_options, merged
from poolbudget.client.pool import AsyncResizableQueuePool, ResizableQueuePool
from poolbudget.client.settings import folder_of, read_settings
from poolbudget.client.share import Share
from poolbudget.client.signals import notice_sigterm
from poolbudget.client.watch import watcher
from poolbudget.tag import budget_part

logger = logging.getLogger(__name__)

_followed: weakref.WeakKeyDictionary[Engine, Following] = weakref.WeakKeyDictionary()
_left_to_parent: list[pool.Pool] = []


def create_async_engine(
    url: str | URL, *, prefix: str = "", folder: str | os.PathLike[str] | None = None, **overrides: Any
) -> AsyncEngine:
    """SQLAlchemy's `create_async_engine`, with what PoolBudget says of this pod's pools.

        engine = create_async_engine("postgresql+asyncpg://orders@db/orders")

    Sizes and settings come from the environment (`envFrom` with the target's ConfigMap), or from the files
    of `folder`, by default /etc/poolbudget. `prefix` is the target's `configMap.keyPrefix`. Where the folder
    also holds the pod's own share the pool follows that while it runs, and says so in the database
    (docs/applications.md). `overrides` are SQLAlchemy's arguments; they win. With sizes or a pool class of
    one's own the engine does not follow anything.

    Where there is nothing to read the engine is SQLAlchemy's, with one warning. Raises PoolSizesError for
    sizes that make no sense.
    """
    options, following = _options(make_url(url), prefix, folder, overrides, is_async=True)
    engine = sqlalchemy.ext.asyncio.create_async_engine(url, **options)
    if following is not None:
        _follow(engine.sync_engine, following)
    return engine


def create_engine(
    url: str | URL, *, prefix: str = "", folder: str | os.PathLike[str] | None = None, **overrides: Any
) -> Engine:
    """SQLAlchemy's `create_engine`, as `create_async_engine` here. Raises PoolSizesError."""
    options, following = _options(make_url(url), prefix, folder, overrides, is_async=False)
    engine = sqlalchemy.create_engine(url, **options)
    if following is not None:
        _follow(engine, following)
    return engine


def following_of(engine: Engine | AsyncEngine) -> Following | None:
    """What an engine's pool follows; None for one that follows nothing."""
    return _followed.get(engine.sync_engine if isinstance(engine, AsyncEngine) else engine)


def _options(
    url: URL,
    prefix: str,
    folder: str | os.PathLike[str] | None,
    overrides: dict[str, Any],
    *,
    is_async: bool,
) -> tuple[dict[str, Any], Following | None]:
    if url.get_backend_name() != "postgresql":
        return overrides, None
    place = folder_of(folder)
    settings = read_settings(prefix, place)
    if not settings:
        logger.warning(
            "PoolBudget has said nothing of this pool (no %sPOOL_SIZE in the environment, nothing in %s): "
            "it has SQLAlchemy's own sizes",
            prefix,
            place,
        )
        return overrides, None
    options = engine_options(prefix, settings, driver_of(url))
    if options.get("poolclass") in (pool.QueuePool, pool.AsyncAdaptedQueuePool):
        # One ConfigMap may serve engines of both kinds.
        options["poolclass"] = pool.AsyncAdaptedQueuePool if is_async else pool.QueuePool
    following = None
    if not _SIZES & overrides.keys() and options.get("poolclass") is not pool.NullPool:
        following = _following(settings, prefix, place, options)
    if following is not None:
        options["poolclass"] = _bound(AsyncResizableQueuePool if is_async else ResizableQueuePool, following)
    return merged(options, overrides, url), following


def _following(
    settings: Mapping[str, str], prefix: str, folder: Path, options: Mapping[str, Any]
) -> Following | None:
    """What there is to follow: a file of the PoolBudget's name, and the pod's UID beside it."""
    budget = settings.get(f"{prefix}POOL_BUDGET", "")
    if not budget or "/" in budget:
        return None
    source = Source(folder / budget, folder / "uid")
    pod, has_share = source.pod(), source.file.exists()
    if pod is None or not has_share:
        if pod is not None or has_share:
            missing = source.file if pod is not None else source.uid_file
            logger.warning(
                "This pod's share is not followed, its pool stays as it is: there is no %s; the downward API "
                "volume needs the items `uid` and `%s` (docs/applications.md)",
                *(missing, budget),
            )
        return None
    identity = settings.get(f"{prefix}POOL_BUDGET_ID", "")
    if not re.fullmatch(r"[0-9a-f]{4}", identity):
        identity = budget_part(budget)
    start = Share(0, options["pool_size"], options["max_overflow"])
    wait = _seconds(settings.get(f"{prefix}POOL_FORMER_WAIT", ""))
    following = Following(source, pod, identity, _free_index(), start, wait)
    following.read_first()
    return following


def _seconds(text: str) -> float:
    """How long to wait for a former process: less than usual where that is said."""
    try:
        return min(max(0.0, float(text)), MOST_WAIT_FOR_FORMER)
    except ValueError:
        return MOST_WAIT_FOR_FORMER


def _free_index() -> int:
    """The lowest number that no pool of this process has: a tag has room for two digits."""
    taken = {following.index for following in _followed.values()}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def _bound(pool_class: type[ResizableQueuePool], following: Following) -> type[ResizableQueuePool]:
    """The pool class for one engine: `create_engine` passes a pool no arguments of ours."""

    class Followed(pool_class):  # type: ignore[misc,valid-type]
        def __init__(self, creator: Any, *arguments: Any, **named: Any) -> None:
            named.setdefault("hooks", following)
            named.setdefault("holds_back", True)
            super().__init__(creator, *arguments, **named)

    Followed.__name__ = Followed.__qualname__ = pool_class.__name__
    return Followed


def _follow(engine: Engine, following: Following) -> None:
    _followed[engine] = following
    share = following.applied
    engine.pool.set_sizes(share.pool_size, share.max_overflow)  # type: ignore[attr-defined]

    @event.listens_for(engine, "do_connect")
    def name_it(_dialect: Any, _record: Any, _arguments: Any, named: dict[str, Any]) -> None:
        if engine.dialect.driver == "asyncpg":
            server = dict(named.get("server_settings") or {})
            server["application_name"] = following.label(server.get("application_name") or _own_name())
            named["server_settings"] = server
        else:
            named["application_name"] = following.label(named.get("application_name") or _own_name())

    notice_sigterm()
    _watch(engine, following)


def _own_name() -> str:
    return os.environ.get("PGAPPNAME", "")


def _watch(engine: Engine, following: Following) -> None:
    followed = weakref.ref(engine)

    def look() -> bool:
        engine = followed()
        if engine is None:
            return False
        following.look(engine.pool)  # type: ignore[arg-type]
        return True

    watcher.add(following.folder, look)


def _after_fork() -> None:
    """A worker process has pools of its own: what is open belongs to its parent."""
    watcher.begin_anew()
    for engine, following in list(_followed.items()):
        try:
            # Kept for good, so that the garbage collector does not close the parent's connections.
            _left_to_parent.append(engine.pool)
            following.begin_anew()
            engine.dispose(close=False)
        except Exception:
            logger.exception("An engine was not renewed after a fork")
            continue
        share = following.applied
        engine.pool.set_sizes(share.pool_size, share.max_overflow)  # type: ignore[attr-defined]
        engine.pool.rests = False  # type: ignore[attr-defined]
        _watch(engine, following)
    notice_sigterm()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

__all__ = ["PoolSizesError", "create_async_engine", "create_engine", "following_of"]
