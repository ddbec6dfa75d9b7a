"""The command line: `poolbudget run` and `poolbudget crd`."""

from __future__ import annotations

import asyncio
import logging

import click

from poolbudget import __version__


@click.group()
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
    verbose: bool,
    log_format: str,
) -> None:
    """Run the operator, in a cluster or with the kubeconfig of KUBECONFIG."""
    import kopf  # noqa: PLC0415 - `poolbudget crd` must not pay for it

    from poolbudget.runtime.app import Operator, Options  # noqa: PLC0415

    formats = {"text": kopf.LogFormat.FULL, "json": kopf.LogFormat.JSON}
    kopf.configure(verbose=verbose, log_format=formats[log_format])
    # What the libraries say at INFO is about themselves.
    for library in ("kopf", "aiohttp.access"):
        logging.getLogger(library).setLevel(logging.INFO if verbose else logging.WARNING)
    options = Options(namespaces, address, health_port, metrics_port)
    asyncio.run(Operator(options).run())


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition, made from the models."""
    import yaml  # noqa: PLC0415

    from poolbudget.resource.crd import custom_resource_definition  # noqa: PLC0415

    click.echo(yaml.safe_dump(custom_resource_definition(), sort_keys=False, width=100), nl=False)


if __name__ == "__main__":
    main()
