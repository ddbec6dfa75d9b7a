"""Servers that mean harm: they can stop or fill a probe, and never the operator."""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from collections.abc import Awaitable, Callable

import psutil
import pytest

from poolbudget.capacity import child as child_module
from poolbudget.capacity.child import ChildProbe, Question
from poolbudget.resource.conditions import Reason

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def message(kind: bytes, body: bytes) -> bytes:
    """A message of PostgreSQL's protocol (manual, 55.7)."""
    return kind + struct.pack("!I", len(body) + 4) + body


async def startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the client's first message, refusing TLS."""
    while True:
        length = struct.unpack("!I", await reader.readexactly(4))[0]
        body = await reader.readexactly(length - 4)
        if struct.unpack("!I", body[:4])[0] != 80877103:
            return
        writer.write(b"N")


async def asks_for_endless_work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """SCRAM with 2^31 - 1 rounds."""
    await startup(reader, writer)
    writer.write(message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"))
    await reader.readexactly(1)
    length = struct.unpack("!I", await reader.readexactly(4))[0]
    body = await reader.readexactly(length - 4)
    nonce = body.decode(errors="replace").rsplit("r=", 1)[1]
    salt = base64.b64encode(b"0123456789abcdef").decode()
    writer.write(message(b"R", struct.pack("!I", 11) + f"r={nonce}extra,s={salt},i=2147483647".encode()))
    await reader.read()


async def never_ends_its_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A message of 1 GiB, and more of it for as long as anybody reads."""
    await startup(reader, writer)
    writer.write(b"E" + struct.pack("!I", 2**30))
    while True:
        writer.write(b"x" * 2**20)
        await writer.drain()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize("behaviour", [asks_for_endless_work, never_ends_its_answer, says_nothing])
async def test_the_operator_goes_on(behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_PATIENCE", 20.0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    probe = ChildProbe()
    longest, last = 0.0, time.monotonic()
    memory = psutil.Process().memory_info().rss
    looking = asyncio.create_task(
        probe.look(Question(f"postgresql://u:p@127.0.0.1:{port}/x?sslmode=disable", "127.0.0.1"))
    )
    while not looking.done():
        await asyncio.sleep(0.02)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    answer = await looking
    await probe.close()
    server.close()
    assert answer.failure is not None
    assert answer.failure.reason in (Reason.PROBE_FAILED, Reason.TIMED_OUT)
    # A generous bound: without a process of its own the first of them stops everything for hours.
    assert longest < 5
    assert psutil.Process().memory_info().rss - memory < 200 * 2**20
