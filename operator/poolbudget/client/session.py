"""Statements of our own on a connection that the application does not use right now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def run(connection: Any, statement: str, *, rows: bool = False) -> Sequence[Any]:
    """Run a statement on a DBAPI connection outside of any transaction; with `rows`, return what it gives.

    In a transaction a SET would be undone by the application's next ROLLBACK (PostgreSQL manual, SET).
    Raises whatever the driver raises.
    """
    if hasattr(getattr(connection, "driver_connection", None), "fetch"):
        # asyncpg: beside SQLAlchemy's adapter each statement is its own transaction, and is not prepared
        # where nothing is asked for.
        answer = connection.run_async(
            lambda driver: driver.fetch(statement) if rows else driver.execute(statement)
        )
        return answer if rows else ()
    before = connection.autocommit
    if not before:
        connection.autocommit = True
    try:
        cursor = connection.cursor()
        try:
            cursor.execute(statement)
            return cursor.fetchall() if rows else ()
        finally:
            cursor.close()
    finally:
        if not before:
            connection.autocommit = False


def application_name(connection: Any) -> str | None:
    """What a connection calls itself, without asking the server, which reports each change by itself.

    (PostgreSQL manual, 55.2.7, ParameterStatus.) None where the driver does not tell.
    """
    driver = getattr(connection, "driver_connection", connection)
    try:
        if hasattr(driver, "fetch"):
            name = driver.get_settings().application_name
        elif hasattr(driver, "get_parameter_status"):
            name = driver.get_parameter_status("application_name")
        else:
            name = driver.info.parameter_status("application_name")
    except Exception:
        return None
    return None if name is None else str(name)
