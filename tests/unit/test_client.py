"""What applications import."""

import subprocess
import sys

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from poolbudget.client import PoolSizesError, pool_sizes


async def test_an_engine_in_three_lines() -> None:
    sizes = pool_sizes(environment={"POOL_SIZE": "7", "MAX_OVERFLOW": "3"})
    engine = create_async_engine("postgresql+asyncpg://u:p@127.0.0.1:1/x", **sizes)  # type: ignore[arg-type]
    assert engine.pool.size() == 7  # type: ignore[attr-defined]
    assert engine.pool._max_overflow == 3  # type: ignore[attr-defined]
    await engine.dispose()


def test_from_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIMARY_POOL_SIZE", "5")
    monkeypatch.setenv("PRIMARY_MAX_OVERFLOW", "0")
    assert pool_sizes("PRIMARY_") == {"pool_size": 5, "max_overflow": 0}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "POOL_SIZE is not set: add the target's ConfigMap"),
        ({"POOL_SIZE": "5"}, "MAX_OVERFLOW is not set"),
        ({"POOL_SIZE": "0", "MAX_OVERFLOW": "5"}, "POOL_SIZE must be a whole number from 1"),
        ({"POOL_SIZE": "5", "MAX_OVERFLOW": "-1"}, "MAX_OVERFLOW must be a whole number from 0"),
        ({"POOL_SIZE": "many", "MAX_OVERFLOW": "5"}, "not 'many'"),
    ],
)
def test_no_guessing(environment: dict[str, str], words: str) -> None:
    with pytest.raises(PoolSizesError, match=words):
        pool_sizes(environment=environment)


def test_it_is_light() -> None:
    """Importing it must work where only SQLAlchemy is installed."""
    code = (
        "import sys; import poolbudget.client; "
        "heavy = {'kopf', 'kubernetes', 'pydantic', 'asyncpg', 'click', 'aiohttp'} & set(sys.modules); "
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
