"""The command line: `poolbudget run`, `plan`, `check`, `simulate` and `crd`."""

from __future__ import annotations

import asyncio
import importlib
import logging
from pathlib import Path

import click

from poolbudget import __version__

# Imported when they are asked for: the other commands must not pay for them.
_ELSEWHERE = {
    "simulate": "poolbudget.simulation.command",
    "plan": "poolbudget.commands.plan",
    "check": "poolbudget.commands.check",
}


class _Commands(click.Group):
    """A group some of whose commands are imported late."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(_ELSEWHERE[cmd_name]), cmd_name)
        return command


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="poolbudget")
def main() -> None:
    """Keep a database's connection budget while Kubernetes workloads scale."""


@main.command()
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    help="Watch this namespace only (may be repeated). Default: the whole cluster.",
)
@click.option("--address", default="0.0.0.0", show_default=True, help="Address of the two ports below.")  # noqa: S104
@click.option("--health-port", default=8081, show_default=True, help="Port of /healthz; 0 for none.")
@click.option("--metrics-port", default=8080, show_default=True, help="Port of /metrics; 0 for none.")
@click.option(
    "--kubelet-lag", default=1.0, show_default=True, help="Seconds: see docs/safety.md, Assumptions."
)
@click.option("--status-lag", default=10.0, show_default=True, help="Seconds: see docs/safety.md.")
@click.option("--clock-skew", default=1.0, show_default=True, help="Seconds: see docs/safety.md.")
@click.option(
    "--quarantine",
    default=300.0,
    show_default=True,
    help="Seconds for which a pod that vanished without a confirmed end stays charged.",
)
@click.option(
    "--password-folder",
    type=click.Path(path_type=Path),
    default="/etc/poolbudget/passwords",
    show_default=True,
    help="Where files named by capacity.probe.passwordFile lie, in a folder for each namespace.",
)
@click.option("--verbose", "-v", is_flag=True, help="Log details.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or JSON for a log store.",
)
def run(
    namespaces: tuple[str, ...],
    address: str,
    health_port: int,
    metrics_port: int,
    kubelet_lag: float,
    status_lag: float,
    clock_skew: float,
    quarantine: float,
    password_folder: Path,
    verbose: bool,
    log_format: str,
) -> None:
    """Run the operator, in a cluster or with the kubeconfig of KUBECONFIG."""
    import kopf  # noqa: PLC0415 - `poolbudget crd` must not pay for it

    from poolbudget.planning.charges import Assumptions  # noqa: PLC0415
    from poolbudget.runtime.app import Operator, Options  # noqa: PLC0415

    formats = {"text": kopf.LogFormat.FULL, "json": kopf.LogFormat.JSON}
    kopf.configure(verbose=verbose, log_format=formats[log_format])
    # What the libraries say at INFO is about themselves.
    for library in ("kopf", "aiohttp.access"):
        logging.getLogger(library).setLevel(logging.INFO if verbose else logging.WARNING)
    assumptions = Assumptions(
        kubelet_lag=kubelet_lag, status_lag=status_lag, clock_skew=clock_skew, quarantine=quarantine
    )
    options = Options(namespaces, address, health_port, metrics_port, assumptions, password_folder)
    asyncio.run(Operator(options).run())


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition, made from the models."""
    import yaml  # noqa: PLC0415

    from poolbudget.resource.crd import custom_resource_definition  # noqa: PLC0415

    click.echo(yaml.safe_dump(custom_resource_definition(), sort_keys=False, width=100), nl=False)


if __name__ == "__main__":
    main()
