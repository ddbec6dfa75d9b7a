"""`poolbudget check URL`: what an endpoint is, what it allows, and who uses it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from poolbudget.capacity.admin_console import AdminConsole
from poolbudget.capacity.consumers import Backends
from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.limits import usable_connections
from poolbudget.capacity.pooler import AdminFigures
from poolbudget.capacity.probe import DatabaseProbe, Report, parse_url
from poolbudget.commands.tables import columns, grid
from poolbudget.resource.capacity import Reserved
from poolbudget.tag import without_tag

_MOST_ROWS = 12


@click.command()
@click.argument("url", envvar="DATABASE_URL")
@click.option("--role", help="Role of the application: its connection limit counts as well.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people or programs.",
)
def check(url: str, role: str | None, output: str) -> None:
    """Ask the database (or PgBouncer's console, database pgbouncer) at URL what it allows and who is there.

    URL is like postgresql://user:password@host:5432/orders, and may stand in DATABASE_URL instead, where
    other users of this machine do not see it. Exit status: 0 answered, 1 not, 2 wrong usage.
    """
    try:
        data = asyncio.run(_ask(url, role))
    except ProbeFailure as failure:
        click.echo(f"{failure.reason.value}: {failure.message}", err=True)
        sys.exit(1)
    if output == "json":
        click.echo(json.dumps(data, indent=2))
    else:
        _show(Console(), data)


async def _ask(url: str, role: str | None) -> dict[str, Any]:
    """What either kind of endpoint says. Raises ProbeFailure."""
    address = parse_url(url)[0]
    where = f"{address.host}:{address.port or 5432}"
    if address.database == "pgbouncer":
        console = AdminConsole(url)
        try:
            return _pooler_data(where, await console.figures())
        finally:
            await console.close()
    probe = DatabaseProbe(url, role)
    try:
        return _server_data(where, await probe.look())
    finally:
        await probe.close()


def _server_data(where: str, report: Report) -> dict[str, Any]:
    limits = report.limits
    usable = usable_connections(limits, Reserved())
    used = sum(row.connections for row in report.backends)
    return {
        "endpoint": where,
        "kind": f"PostgreSQL {limits.version // 10000}.{limits.version % 10000}",
        "role": "replica (in recovery)" if limits.in_recovery else "primary",
        "pooler": "a pooler is in front: these are the server's figures" if limits.has_pooler else "none",
        "maxConnections": limits.max_connections,
        "serverReserved": limits.server_reserved,
        "databaseLimit": limits.database_limit,
        "roleLimit": limits.role_limit,
        "usable": usable.connections,
        "arithmetic": usable.arithmetic,
        "connected": used,
        "seesAll": limits.sees_all,
        "idleSessionTimeout": limits.idle_session_timeout,
        "users": _users(report.backends),
    }


def _users(rows: Iterable[Backends]) -> list[dict[str, Any]]:
    """Who is connected, most first; what pods say of their shares in their names is left out."""
    counts: dict[tuple[str, str, str, str], list[int]] = {}
    for row in rows:
        who = without_tag(row.application), row.role, row.database, row.address
        found = counts.setdefault(who, [0, 0])
        found[0] += row.connections
        found[1] += row.active
    users = [
        {
            "application": application,
            "role": role,
            "database": database,
            "address": address,
            "connections": connections,
            "active": active,
        }
        for (application, role, database, address), (connections, active) in counts.items()
    ]
    return sorted(users, key=lambda user: -int(user["connections"]))


def _pooler_data(where: str, figures: AdminFigures) -> dict[str, Any]:
    return {
        "endpoint": where,
        "kind": f"PgBouncer {figures.version}",
        "role": f"pool_mode {figures.pool_mode}",
        "maxClientConnections": figures.max_client_conn,
        "defaultPoolSize": figures.default_pool_size,
        "maxDbConnections": figures.max_db_connections,
        "maxPreparedStatements": figures.max_prepared_statements,
        "serverIdleTimeout": figures.server_idle_timeout,
        "connected": sum(row.connections for row in figures.clients),
        "waiting": figures.waiting,
        "serverConnections": figures.servers,
        "users": _users(figures.clients),
    }


_WORDS = {
    "maxConnections": "max_connections",
    "serverReserved": "reserved by the server",
    "databaseLimit": "limit of the database",
    "roleLimit": "limit of the role",
    "maxClientConnections": "max_client_conn",
    "defaultPoolSize": "default_pool_size",
    "maxDbConnections": "max_db_connections (0: none)",
    "maxPreparedStatements": "max_prepared_statements",
    "serverIdleTimeout": "server_idle_timeout, seconds",
    "waiting": "clients waiting",
    "serverConnections": "connections to the server",
    "connected": "connected now",
}


def _show(console: Console, data: dict[str, Any]) -> None:
    console.print(f"[bold]{escape(data['endpoint'])}[/]  {data['kind']}  {data['role']}", highlight=False)
    words = grid()
    if data.get("pooler", "none") != "none":
        words.add_row("pooler", data["pooler"])
    for key, name in _WORDS.items():
        if data.get(key) is not None:
            words.add_row(name, str(data[key]))
    if "arithmetic" in data:
        words.add_row("usable", f"{data['arithmetic']}, with PoolBudget's default reserves")
    if data.get("idleSessionTimeout"):
        words.add_row("idle_session_timeout", f"{data['idleSessionTimeout']} s: POOL_RECYCLE must be below")
    if data.get("seesAll") is False:
        words.add_row("note", "without pg_monitor others' states and addresses are hidden")
    console.print(words, highlight=False)
    console.print()
    _show_users(console, data["users"])


def _show_users(console: Console, users: list[dict[str, Any]]) -> None:
    if not users:
        console.print("Nobody else is connected.")
        return
    names = [name for name in ("application", "role", "database", "address") if name in users[0]]
    table = columns(*names, "connections", "active")
    for name in range(1, len(names)):
        table.columns[name].justify = "left"
    for row in users[:_MOST_ROWS]:
        table.add_row(*(escape(row[name]) for name in names), str(row["connections"]), str(row["active"]))
    rest = users[_MOST_ROWS:]
    if rest:
        table.add_row(
            f"{len(rest)} more", *[""] * (len(names) - 1), str(sum(row["connections"] for row in rest))
        )
    console.print(table)
