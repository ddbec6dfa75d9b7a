"""The probe on real servers, old and new: every limit, whoever asks, and a server that is full."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import trustme
from sqlalchemy import text

from cluster.postgres import Postgres
from cluster.processes import Workspace, free_port
from cluster.versions import NoSuchVersion
from conftest import unavailable
from poolbudget.capacity import queries
from poolbudget.capacity.child import Answer, ChildProbe, Probes, Question
from poolbudget.capacity.failures import ProbeFailure
from poolbudget.capacity.probe import DatabaseProbe, Report
from poolbudget.resource.conditions import Reason
from poolbudget.tag import Tag, budget_part, labelled

VERSIONS = (13, 15, 18)


@pytest.fixture(scope="module", params=VERSIONS)
def server(workspace: Workspace, request: pytest.FixtureRequest) -> Iterator[Postgres]:
    try:
        made = Postgres(
            workspace, f"postgres-{request.param}", {"max_connections": 60}, version=request.param
        )
    except NoSuchVersion as error:
        unavailable(str(error))
    made.execute("CREATE ROLE app LOGIN PASSWORD 'secret' CONNECTION LIMIT 40")
    made.execute("CREATE ROLE monitor LOGIN PASSWORD 'secret'; GRANT pg_monitor TO monitor")
    made.execute("CREATE ROLE stranger LOGIN PASSWORD 'secret'")
    made.execute("CREATE DATABASE orders CONNECTION LIMIT 50")
    yield made
    made.stop()


async def look(url: str, role: str | None = None) -> Report:
    probe = DatabaseProbe(url, role)
    try:
        return await probe.look()
    finally:
        await probe.close()


async def test_every_limit(server: Postgres) -> None:
    report = await look(server.url("monitor", "orders"), "app")
    limits = report.limits
    assert (limits.max_connections, limits.superuser_reserved, limits.reserved) == (60, 3, 0)
    assert (limits.role_limit, limits.database_limit, limits.in_recovery) == (40, 50, False)
    assert limits.version // 10000 == int(server.execute("SHOW server_version_num")) // 10000
    assert (limits.sees_all, limits.has_pooler, report.database) == (True, False, "orders")


async def test_no_limit_is_none(server: Postgres) -> None:
    limits = (await look(server.url("monitor"), "monitor")).limits
    assert (limits.role_limit, limits.database_limit) == (None, None)
    seen = (await look(server.url("monitor"))).backends
    assert [row.application for row in seen] == ["poolbudget-operator"]


async def test_a_role_that_does_not_exist_is_said(server: Postgres) -> None:
    with pytest.raises(ProbeFailure) as failure:
        await look(server.url("monitor"), "nobody")
    assert failure.value.reason is Reason.ROLE_NOT_FOUND


async def test_backends_with_and_without_pg_monitor(server: Postgres) -> None:
    """Nobody is missed by a role that may not see their backend_type."""
    settings = {"application_name": "reports"}
    held = [await asyncpg.connect(server.url("postgres", "orders"), server_settings=settings) for _ in "ab"]
    try:
        for role, sees_all in (("monitor", True), ("app", False)):
            report = await look(server.url(role, "orders"))
            found = {(row.application, row.role): row for row in report.backends}
            assert found["reports", "postgres"].connections == 2
            assert report.limits.sees_all is sees_all
            assert bool(found["reports", "postgres"].address) is sees_all
    finally:
        await asyncio.gather(*(connection.close() for connection in held))


async def test_what_connections_do_is_shown_to_who_may_see_it(server: Postgres) -> None:
    """One in a transaction, one that works, one idle; without pg_monitor of none is known what it does."""
    tag = Tag("0a1b2c3d1111", "p1", budget_part("shop/orders"), 0, 7, 5)
    settings = {"application_name": labelled("orders", tag)}
    url = server.url("app", "orders")
    apps = [await asyncpg.connect(url, server_settings=settings) for _ in range(3)]
    try:
        await apps[0].execute("BEGIN; SELECT pg_advisory_xact_lock(1)")
        working = asyncio.create_task(apps[1].execute("SELECT pg_advisory_xact_lock(1)"))
        for role, active, hidden in (("monitor", 2, 0), ("stranger", 0, 3)):
            probe = DatabaseProbe(server.url(role, "orders"))
            try:
                seen = [item for item in await probe.tagged() if item.tag == tag]
                while role == "monitor" and sum(item.active for item in seen) < active:
                    seen = [item for item in await probe.tagged() if item.tag == tag]
            finally:
                await probe.close()
            figures = [(item.connections, item.active, item.hidden) for item in seen]
            assert figures == [(3, active, hidden)]
            report = await look(server.url(role, "orders"))
            [row] = [row for row in report.backends if row.role == "app"]
            assert (row.active, row.hidden) == (active, hidden)
        await apps[0].execute("ROLLBACK")
        await working
    finally:
        await asyncio.gather(*(app.close() for app in apps))


async def test_a_full_server_is_still_asked(server: Postgres) -> None:
    """Over the one connection that the probe keeps open."""
    probe = DatabaseProbe(server.url("monitor"))
    await probe.look()
    held: list[asyncpg.Connection] = []
    try:
        held += [await asyncpg.connect(server.url()) for _ in range(59)]
        with pytest.raises(asyncpg.TooManyConnectionsError):
            await asyncpg.connect(server.url())
        report = await probe.look()
        assert sum(row.connections for row in report.backends) == len(held) + 1 == 60
        with pytest.raises(ProbeFailure) as failure:
            await look(server.url("monitor"))
        assert failure.value.reason is Reason.TOO_MANY_CONNECTIONS
    finally:
        await asyncio.gather(*(connection.close() for connection in held))
        await probe.close()


async def test_reserved_connections_of_new_servers(workspace: Workspace) -> None:
    try:
        made = Postgres(workspace, "postgres-reserved", {"reserved_connections": 4}, version=18)
    except NoSuchVersion as error:
        unavailable(str(error))
    limits = (await look(made.url())).limits
    made.stop()
    assert (limits.reserved, limits.server_reserved) == (4, 7)


async def test_a_replica_says_so(workspace: Workspace, postgres: Postgres) -> None:
    """A server that starts in recovery, from the files of one that was stopped."""
    name = f"standby-{free_port()}"
    made = Postgres(workspace, name, {"max_connections": 50})
    made.stop()
    (made.data / "standby.signal").touch()
    made.start()
    limits = (await look(made.url())).limits
    made.stop()
    assert (limits.in_recovery, limits.max_connections) == (True, 50)


async def test_a_password_from_a_file_is_read_at_each_connect(postgres: Postgres, tmp_path: Path) -> None:
    """Tokens expire: the next connect needs the new one."""
    postgres.execute("CREATE ROLE token LOGIN PASSWORD 'first'")
    file = tmp_path / "token"
    file.write_text("first\n")
    probes, question = (
        Probes(),
        Question(postgres.url("token", password="stale"), "127.0.0.1", None, None, str(file)),
    )
    assert (await probes.look(question)).report is not None
    postgres.execute("ALTER ROLE token PASSWORD 'second'")
    postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'token'")
    answer = await probes.look(question)
    assert answer.failure is not None
    assert answer.failure.reason is Reason.AUTHENTICATION_FAILED
    file.write_text("second\n")
    assert (await probes.look(question)).report is not None
    await probes.close()
    file.unlink()
    answer = await probes.look(question)
    assert answer.failure is not None
    assert answer.failure.reason is Reason.PASSWORD_NOT_FOUND
    postgres.execute("DROP ROLE token")


@pytest.mark.parametrize(
    ("host", "is_other"), [("127.0.0.1", False), ("localhost", False), ("db.invalid", True)]
)
async def test_another_host_than_the_targets_is_told(postgres: Postgres, host: str, is_other: bool) -> None:
    probes = Probes()
    answer = await probes.look(Question(postgres.url(), host))
    await probes.close()
    assert (answer.other_host == "127.0.0.1") is is_other


@pytest.fixture
async def child() -> AsyncIterator[ChildProbe]:
    made = ChildProbe()
    yield made
    await made.close()


async def test_a_child_answers_like_the_probe(child: ChildProbe, postgres: Postgres) -> None:
    question = Question(postgres.url(), "127.0.0.1", "postgres")
    first, second = await child.look(question), await child.look(question)
    assert first.report is not None
    assert second.report is not None
    assert first.report.limits == second.report.limits == (await look(postgres.url(), "postgres")).limits
    assert isinstance(await child.look(Question("mysql://x", "x")), Answer)


async def test_a_server_that_does_not_go_on_is_not_waited_for(postgres: Postgres) -> None:
    """A query has 5 s; when the server goes on, so does the probe."""
    probe = DatabaseProbe(postgres.url())
    await probe.look()
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'poolbudget-operator'"
    pids = [int(pid) for pid in postgres.execute(query).split()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(ProbeFailure) as failure:
            await probe.look()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert failure.value.reason is Reason.TIMED_OUT
    assert (await probe.look()).limits.max_connections == 170
    await probe.close()


@pytest.mark.parametrize(
    "answer",
    [
        "SELECT 'many', 3, 0, 0, 150000, 0, -1, 1, false, true, 'x'",
        "SELECT 2000000000, 3, 0, 0, 150000, 0, -1, 1, false, true, 'x'",
        "SELECT -5, 3, 0, 0, 150000, 0, -1, 1, false, true, 'x'",
        "SELECT 170",
        "SELECT 170, NULL, 0, 0, 150000, 0, -1, 1, false, true, 'x'",
    ],
)
async def test_figures_that_make_no_sense_are_a_failure(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(queries, "LIMITS", text(answer))
    with pytest.raises(ProbeFailure) as failure:
        await look(postgres.url())
    assert failure.value.reason is Reason.PROBE_FAILED


async def test_more_rows_than_anybody_reads_are_cut(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = "SELECT repeat('r', 9999), 'd', 'a' || i, '', 1, 0, 0 FROM generate_series(1, 50000) i"
    monkeypatch.setattr(queries, "BACKENDS", text(many))
    report = await look(postgres.url())
    assert (len(report.backends), len(report.backends[0].role)) == (2000, 63)


@pytest.fixture(scope="module")
def with_tls(workspace: Workspace) -> Iterator[tuple[Postgres, Path]]:
    """A server with a certificate for 127.0.0.1, and the authority that signed it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    root = workspace.folder / "authority.pem"
    authority.cert_pem.write_to_path(str(root))
    made = Postgres(workspace, "postgres-tls", {"max_connections": 50})
    owner = made.data.stat()
    files = {"server.crt": certificate.cert_chain_pems[0], "server.key": certificate.private_key_pem}
    for name, blob in files.items():
        blob.write_to_path(str(made.data / name))
        os.chown(made.data / name, owner.st_uid, owner.st_gid)
        (made.data / name).chmod(0o600)
    made.restart(ssl="on")
    yield made, root
    made.stop()


@pytest.mark.parametrize(
    ("mode", "has_root", "works"),
    [
        ("disable", False, True),
        ("prefer", False, True),
        ("require", False, True),
        ("verify-ca", True, True),
        ("verify-full", True, True),
        ("verify-ca", False, False),
        ("verify-full", False, False),
    ],
)
async def test_tls_modes(with_tls: tuple[Postgres, Path], mode: str, has_root: bool, works: bool) -> None:
    """An authority that nobody knows is refused where it is to be verified."""
    server, root = with_tls
    url = f"{server.url()}?sslmode={mode}" + (f"&sslrootcert={root}" if has_root else "")
    if works:
        assert (await look(url)).limits.max_connections == 50
        return
    with pytest.raises(ProbeFailure) as failure:
        await look(url)
    assert failure.value.reason is Reason.TLS_FAILED


async def test_tls_that_the_server_does_not_have(postgres: Postgres) -> None:
    with pytest.raises(ProbeFailure) as failure:
        await look(f"{postgres.url()}?sslmode=require")
    assert failure.value.reason is Reason.TLS_FAILED


async def test_without_a_folder_to_write_to_the_operator_says_what_it_needs(
    child: ChildProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", refused)
    answer = await child.look(Question("postgresql://u:p@h/x", "h"))
    assert answer.failure is not None
    assert "needs a /tmp that it can write to" in answer.failure.message
