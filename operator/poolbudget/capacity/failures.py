"""Why a database could not be asked, in words that say what to do, without the password."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
from dataclasses import dataclass

import asyncpg
from sqlalchemy import exc
from sqlalchemy.engine import URL

from poolbudget.resource.conditions import Reason

_MESSAGE_LENGTH = 300
_SHORT_PASSWORD = 6
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")


@dataclass(frozen=True, slots=True)
class ProbeFailure(Exception):
    """A probe that gave no figures: a reason for the condition, and a sentence with what to do."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return self.message


def redacted(text: str, password: str | None = None) -> str:
    """The text without passwords: those in URLs, and the one given."""
    text = _URL_PASSWORD.sub(r"\1:***@", text)
    if not password or password not in text:
        return text
    # Striking out a short one would spell it by the gaps.
    return text.replace(password, "***") if len(password) >= _SHORT_PASSWORD else "details withheld"


def explain(error: BaseException, url: URL) -> ProbeFailure:
    """Turn what SQLAlchemy, asyncpg or the network said into a reason and advice."""
    cause = _cause(error)
    where = f"{url.host}:{url.port or 5432}"
    reason, sentence = _classify(cause, where, url)
    said = redacted(str(cause).strip() or type(cause).__name__, url.password)
    return ProbeFailure(reason, f"{sentence} ({said[:_MESSAGE_LENGTH]})")


def _cause(error: BaseException) -> BaseException:
    """Asyncpg's own exception under SQLAlchemy's wrappers."""
    while isinstance(error, exc.SQLAlchemyError) and (error.__cause__ or error.__context__):
        error = error.__cause__ or error.__context__ or error
    while isinstance(error.__cause__, asyncpg.PostgresError):
        error = error.__cause__
    return error


# asyncio's words where a name has several addresses and each refused.
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"


def _classify(cause: BaseException, where: str, url: URL) -> tuple[Reason, str]:
    if isinstance(cause, asyncpg.PostgresError):
        return _server_said(cause, where, url)
    if isinstance(cause, socket.gaierror):
        return Reason.HOST_NOT_FOUND, f"the host {url.host} is not known: check the URL and DNS"
    if isinstance(cause, ssl.SSLError) or "SSL" in str(cause):
        return (
            Reason.TLS_FAILED,
            f"no TLS connection with {where}: check sslmode in the URL and the server's certificate",
        )
    if isinstance(cause, ConnectionRefusedError) or _REFUSED in str(cause):
        return (
            Reason.CONNECTION_REFUSED,
            f"nobody listens at {where}: check host and port, and that the server runs",
        )
    if isinstance(cause, (asyncio.TimeoutError, TimeoutError)):
        return (
            Reason.TIMED_OUT,
            f"no answer from {where}: check network policies and firewalls on the way",
        )
    return Reason.PROBE_FAILED, f"the database at {where} could not be asked"


# SQLSTATE (PostgreSQL manual, appendix A) -> reason and what to do.
_BY_SQLSTATE = {
    "28P01": (Reason.AUTHENTICATION_FAILED, "check user and password in the Secret"),
    "28000": (Reason.AUTHENTICATION_FAILED, "check user and pg_hba.conf"),
    "3D000": (Reason.DATABASE_NOT_FOUND, "check the database's name in the Secret"),
    "53300": (Reason.TOO_MANY_CONNECTIONS, "no slot is left for the probe: raise reserved.admin"),
}


def _server_said(cause: asyncpg.PostgresError, where: str, url: URL) -> tuple[Reason, str]:
    known = _BY_SQLSTATE.get(cause.sqlstate or "")
    if known is None:
        return Reason.PROBE_FAILED, f"the database at {where} refused to answer"
    reason, advice = known
    return reason, f"{where} refused {url.username or 'the user'}: {advice}"
