"""What the operator takes for granted of the API server, and its pod cache against it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping

import pytest

from cluster.control_plane import Cluster, ControlPlane
from helpers import deployment, scale, wait_for_pods
from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, ApiError, Object
from poolbudget.cluster.pod_records import PodRecord
from poolbudget.cluster.pods import PodCache
from poolbudget.planning.inputs import PodStage, TargetKey


@contextlib.asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[Api]:
    api = await Api.from_kubeconfig(cluster.kubeconfig)
    try:
        yield api
    finally:
        await api.close()


def manifest(version: str, value: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "fenced", "resourceVersion": version},
        "data": {"key": value},
    }


async def test_an_impossible_version_means_create_only(cluster: Cluster, namespace: str) -> None:
    """Server-side apply with a version that no object has: creates, and never overwrites."""
    path = paths.config_map(namespace, "fenced")
    async with connected(cluster) as api:
        created = await api.apply(path, manifest("1", "first"), "test")
        with pytest.raises(ApiError) as caught:
            await api.apply(path, manifest("1", "second"), "test")
        assert caught.value.is_conflict
        version = created["metadata"]["resourceVersion"]
        await api.apply(path, manifest(version, "third"), "test")
        with pytest.raises(ApiError) as caught:
            await api.apply(path, manifest(version, "fourth"), "test")
        assert caught.value.is_conflict
        assert (await api.get(path))["data"] == {"key": "third"}


async def test_not_found(cluster: Cluster, namespace: str) -> None:
    async with connected(cluster) as api:
        assert await api.find(paths.config_map(namespace, "nothing")) is None
        with pytest.raises(ApiError) as caught:
            await api.get(paths.config_map(namespace, "nothing"))
        assert caught.value.is_not_found
        assert 'configmaps "nothing" not found' in str(caught.value)


@contextlib.asynccontextmanager
async def followed(
    cluster: Cluster, namespaces: list[str]
) -> AsyncIterator[tuple[PodCache, list[PodRecord]]]:
    seen: list[PodRecord] = []
    async with connected(cluster) as api:
        cache = PodCache(api, namespaces, seen.append, 60.0, time.time)
        task = asyncio.create_task(cache.run())
        try:
            async with asyncio.timeout(20):
                await cache.wait_until_listed()
            yield cache, seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until_count(cache: PodCache, namespace: str, count: int) -> None:
    async with asyncio.timeout(30):
        while len(list(cache.in_namespace(namespace))) != count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_pods_are_listed_and_followed(cluster: Cluster, namespace: str) -> None:
    cluster.apply(deployment(namespace, replicas=2))
    wait_for_pods(cluster, namespace, 2)
    async with followed(cluster, [namespace]) as (cache, seen):
        await until_count(cache, namespace, 2)
        record = next(cache.in_namespace(namespace))
        assert record.owner == TargetKey("Deployment", "api")
        assert record.stage is PodStage.STARTING
        before = len(seen)
        await asyncio.to_thread(scale, cluster, namespace, 5)
        await until_count(cache, namespace, 5)
        await asyncio.to_thread(scale, cluster, namespace, 0)
        await until_count(cache, namespace, 0)
        assert len(seen) >= before + 3 + 5


async def test_what_went_while_the_watch_was_cut_is_noticed(
    control_plane: ControlPlane, namespace: str
) -> None:
    """A relist reports deletions that no event told of."""
    control_plane.apply(deployment(namespace, replicas=4))
    wait_for_pods(control_plane, namespace, 4)
    async with connected(control_plane) as api:
        seen: list[PodRecord] = []
        cache = PodCache(api, [namespace], seen.append, 60.0, time.time)
        await cache._list(namespace)
        assert len(cache) == 4
        await asyncio.to_thread(scale, control_plane, namespace, 1)
        await asyncio.to_thread(wait_for_pods, control_plane, namespace, 1)
        seen.clear()
        await cache._list(namespace)
        assert len(cache) == 1
        assert len(seen) == 3


async def test_who_may_list_but_not_watch_does_not_list_without_pause(
    control_plane: ControlPlane, namespace: str
) -> None:
    subject = f"lister-{namespace}"
    control_plane.kubectl(
        *("create", "role", "lister", "--verb=list", "--resource=pods", f"--namespace={namespace}")
    )
    control_plane.kubectl(
        *("create", "rolebinding", "lister", "--role=lister", f"--user={subject}"),
        f"--namespace={namespace}",
    )
    api = await Api.from_kubeconfig(control_plane.kubeconfig_for(subject))
    lists = 0
    get = api.get

    async def counted(path: str, query: Mapping[str, str | int] | None = None) -> Object:
        nonlocal lists
        lists += 1
        return await get(path, query)

    api.get = counted  # type: ignore[method-assign]
    task = asyncio.create_task(PodCache(api, [namespace], lambda _: None, 60.0, time.time).run())
    await asyncio.sleep(4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await api.close()
    # Pauses of 0.2, 0.4, 0.8, 1.6 and 3.2 s lie between them.
    assert 2 <= lists <= 6


async def test_the_api_server_may_restart(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.apply(deployment(namespace, replicas=2))
    wait_for_pods(control_plane, namespace, 2)
    async with followed(control_plane, []) as (cache, _):
        await until_count(cache, namespace, 2)
        await asyncio.to_thread(control_plane.restart_api_server)
        await asyncio.to_thread(scale, control_plane, namespace, 3)
        await until_count(cache, namespace, 3)
