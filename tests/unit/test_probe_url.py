"""URLs as people have them, and errors that never tell the password."""

import asyncio
import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from poolbudget.capacity.failures import ProbeFailure, explain, redacted
from poolbudget.capacity.probe import DatabaseProbe, parse_url
from poolbudget.resource.conditions import Reason


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_usual_schemes(scheme: str) -> None:
    url, arguments = parse_url(f"{scheme}://u:p@db:6432/orders?sslmode=require&application_name=x\n")
    assert url.render_as_string(hide_password=False) == "postgresql+asyncpg://u:p@db:6432/orders"
    assert arguments == {"ssl": "require"}


@pytest.mark.parametrize(("mode", "checks_name"), [("verify-ca", False), ("verify-full", True)])
def test_verified_connections_use_the_systems_certificates(mode: str, checks_name: bool) -> None:
    _, arguments = parse_url(f"postgresql://u:p@db/orders?sslmode={mode}")
    assert isinstance(arguments["ssl"], ssl.SSLContext)
    assert arguments["ssl"].check_hostname is checks_name
    assert arguments["ssl"].verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a URL"),
        ("s3cret", "not a URL"),
        ("mysql://u:s3cret@db/orders", "scheme is 'mysql'"),
        ("postgresql://u:s3cret@/orders", "names no host"),
        ("postgresql://u:s3cret@db:port/orders", "not a URL"),
        ("postgresql://u:s3cret@db/orders?sslmode=maybe", "sslmode is one of"),
        ("postgresql://u:pass@s3cret@db/orders", "write %40 for @"),
        ("postgresql://u:p@er2s3cret/99@127.0.0.1/x", "more than one @"),
        ("postgresql://u:p@s3cret?q@127.0.0.1/x", "more than one @"),
        ("postgresql://u:s3cret@db/orders?plugin=x", "'plugin' is not understood"),
        ("postgresql://u:s3cret@db/orders?prepared_statement_cache_size=abc", "is not understood"),
        ("postgresql://u:s3cret@a:1,b:2/orders?port=abc", "not a URL"),
        ("postgresql://u:s3cret@db/orders?sslmode=verify-full&sslrootcert=/none.pem", "cannot be read"),
    ],
)
def test_bad_urls_are_explained_without_repeating_them(text: str, why: str) -> None:
    with pytest.raises(ProbeFailure) as caught:
        parse_url(text)
    assert caught.value.reason is Reason.URL_INVALID
    assert why in caught.value.message
    assert "s3cret" not in caught.value.message


@given(st.text(max_size=60))
def test_no_text_gets_past_as_anything_but_a_url_or_a_failure(text: str) -> None:
    try:
        url, _ = parse_url(text)
    except ProbeFailure:
        return
    assert url.drivername == "postgresql+asyncpg"
    assert url.host


def test_passwords_are_redacted() -> None:
    assert redacted("see postgresql://app:pa55@db/x", None) == "see postgresql://app:***@db/x"
    assert redacted("auth with pa55word failed", "pa55word") == "auth with *** failed"
    url = make_url("postgresql://app:pa55word@db/x")
    assert "pa55word" not in explain(RuntimeError("could not log in with pa55word"), url).message


def test_a_short_password_is_not_spelled_by_the_gaps() -> None:
    assert redacted("Multiple exceptions", "p") == "details withheld"


def test_refused_on_every_address_is_refused() -> None:
    error = OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect call failed")
    assert explain(error, make_url("postgresql://u:p@db/x")).reason is Reason.CONNECTION_REFUSED


@pytest.mark.parametrize(
    ("url", "reason", "words"),
    [
        ("postgresql://u:p@127.0.0.1:1/x", Reason.CONNECTION_REFUSED, "nobody listens at 127.0.0.1:1"),
        ("postgresql://u:p@no-such-host.invalid/x", Reason.HOST_NOT_FOUND, "check the URL and DNS"),
    ],
)
async def test_network_trouble_is_told_apart(url: str, reason: Reason, words: str) -> None:
    probe = DatabaseProbe(url)
    with pytest.raises(ProbeFailure) as caught:
        await probe.look()
    await probe.close()
    assert caught.value.reason is reason
    assert words in caught.value.message


async def test_a_token_from_a_file_is_struck_out_like_a_password() -> None:
    """It is in no URL, and the other side may repeat it."""
    token = "token-that-nobody-may-see"

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b"SFATAL\0C28P01\0Mno entry with " + token.encode() + b"\0\0"
        writer.write(b"E" + struct.pack("!I", len(body) + 4) + body)
        await writer.drain()
        await reader.read(1024)
        writer.close()

    server = await asyncio.start_server(repeat, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    probe = DatabaseProbe(f"postgresql://u@127.0.0.1:{port}/x?sslmode=disable", None, lambda: token)
    with pytest.raises(ProbeFailure) as failure:
        await probe.look()
    await probe.close()
    server.close()
    assert failure.value.reason is Reason.AUTHENTICATION_FAILED
    assert "no entry with ***" in failure.value.message
