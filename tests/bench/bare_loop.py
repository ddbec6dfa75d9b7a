"""The least that such an operator could do: watch Deployments, patch a ConfigMap. The baseline."""

from __future__ import annotations

import asyncio
import sys

from poolbudget.cluster import paths
from poolbudget.cluster.api import Api


async def main(namespace: str, config_map: str) -> None:
    """Write each Deployment's replicas into a ConfigMap as soon as they change."""
    api = await Api.connect()
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    seen: dict[str, int] = {}
    version = (await api.get(path))["metadata"]["resourceVersion"]
    print("watching", flush=True)
    while True:
        async for event in api.watch(path, version, {}):
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            name, replicas = event["object"]["metadata"]["name"], event["object"]["spec"]["replicas"]
            if seen.get(name) != replicas:
                seen[name] = replicas
                body = {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": config_map, "namespace": namespace},
                    "data": {"POOL_SIZE": str(replicas), "MAX_OVERFLOW": "0"},
                }
                await api.apply(paths.config_map(namespace, config_map), body, "bare-loop")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
