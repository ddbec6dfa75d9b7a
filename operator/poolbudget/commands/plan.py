"""`poolbudget plan`: does it fit, before it is applied or scaled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import click
import yaml
from rich.console import Console

from poolbudget.cluster import paths
from poolbudget.cluster.api import Api, ApiError, Object
from poolbudget.cluster.observed import InvalidSpecError, parse_spec
from poolbudget.cluster.pod_records import PodRecord, pod_record
from poolbudget.commands.manifests import BadManifest, Manifests, load
from poolbudget.commands.outlook import Outlook, ReadPods, outlook, to_data
from poolbudget.commands.tables import show_outlook


class _Scale(click.ParamType[tuple[str, int]]):
    """`web=12`: a workload's name and its replicas."""

    name = "NAME=REPLICAS"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        name, _, replicas = value.partition("=")
        if not name or not replicas.isdecimal():
            self.fail(f"{value!r} is not like web=12", param, ctx)
        return name, int(replicas)


@click.command()
@click.option(
    "--filename",
    "-f",
    "files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A manifest, or a folder of manifests (may be repeated).",
)
@click.option("--recursive", "-R", is_flag=True, help="Folders with all that is below them.")
@click.option("--scale", multiple=True, type=_Scale(), help="As if a workload had so many replicas.")
@click.option("--live", is_flag=True, help="Look at the cluster of the kubeconfig instead of files.")
@click.option("--namespace", "-n", help="With --live: this namespace only.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="For people or programs.",
)
def plan(
    files: tuple[Path, ...],
    recursive: bool,
    scale: tuple[tuple[str, int], ...],
    live: bool,
    namespace: str | None,
    output: str,
) -> None:
    """Say what each PoolBudget would publish, and whether that fits up to the autoscaler's maximum.

    Exit status: 0 everything fits, 1 something does not, 2 wrong usage or manifests.
    """
    if live == bool(files):
        raise click.UsageError("give manifests with -f, or --live for the cluster, and not both")
    try:
        found = asyncio.run(_outlooks(files, recursive, dict(scale), live, namespace))
    except (BadManifest, InvalidSpecError, ApiError) as error:
        raise click.UsageError(str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise click.UsageError(f"a manifest makes no sense: {type(error).__name__}: {error}") from None
    if not found:
        raise click.UsageError("there is no PoolBudget to plan for")
    _print(found, output)
    sys.exit(0 if all(item.fits for item in found) else 1)


def _print(found: list[Outlook], output: str) -> None:
    if output == "json":
        click.echo(json.dumps([to_data(item) for item in found], indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump([to_data(item) for item in found], sort_keys=False, width=100), nl=False)
    else:
        console = Console()
        for item in found:
            show_outlook(console, item)


async def _outlooks(
    files: tuple[Path, ...], recursive: bool, scale: dict[str, int], live: bool, namespace: str | None
) -> list[Outlook]:
    if live:
        async with _connected() as api:
            return await _of_cluster(api, scale, namespace)
    manifests = load(list(files), recursive)
    _check_names(manifests, scale)
    found = [
        await outlook(manifests, budget, manifests.budgets, None, scale, time.time())
        for budget in manifests.budgets
    ]
    for item in found:
        if item.usable is None:
            raise BadManifest(
                f"PoolBudget {item.name}: a probe asks nobody here, so add capacity.maxConnections or "
                "capacity.estimate, or use --live"
            )
    return found


def _check_names(manifests: Manifests, scale: dict[str, int]) -> None:
    """Whoever forgets a file, or mistypes a name, must not read that all is well. Raises BadManifest."""
    targets = set()
    for budget in manifests.budgets:
        namespace, spec = budget["metadata"]["namespace"], parse_spec(budget)
        for target in spec.targets:
            targets.add(target.name)
            if paths.workload(namespace, target.key) not in manifests.objects:
                raise BadManifest(
                    f"{target.key} of PoolBudget {budget['metadata']['name']} is not among the manifests of "
                    f"namespace {namespace}: name its file, too"
                )
    for name in sorted(scale.keys() - targets):
        raise BadManifest(f"--scale {name}: no PoolBudget has a target of that name")


async def _of_cluster(api: Api, scale: dict[str, int], namespace: str | None) -> list[Outlook]:
    everything: list[Object] = (await api.get(paths.budgets(None)))["items"]
    chosen = [item for item in everything if namespace in (None, item["metadata"]["namespace"])]
    return [
        await outlook(
            api,
            budget,
            everything,
            _pod_reader(api, budget["metadata"]["namespace"]),
            scale,
            time.time(),
        )
        for budget in chosen
    ]


def _pod_reader(api: Api, namespace: str) -> ReadPods:
    async def read() -> list[PodRecord]:
        return [pod_record(item) for item in (await api.get(paths.pods(namespace)))["items"]]

    return read


@contextlib.asynccontextmanager
async def _connected() -> AsyncIterator[Api]:
    try:
        api = await Api.connect()
    except Exception as error:
        raise click.UsageError(f"no cluster to look at: {error}; set KUBECONFIG") from None
    try:
        yield api
    finally:
        await api.close()
