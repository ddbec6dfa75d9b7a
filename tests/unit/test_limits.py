"""From a server's figures to usable."""

import pytest

from poolbudget.capacity.limits import ServerLimits, usable_connections
from poolbudget.resource.spec import Reserved


@pytest.mark.parametrize(
    ("capacity", "server", "reserved", "usable"),
    [
        (170, 3, Reserved(admin=10, replication=2), 155),
        (683, 3, Reserved(admin=10), 670),
        (100, 3, Reserved(admin=10), 87),
        (170, 3, Reserved(admin=10, percent=5), 148),  # 5 % of 170, rounded up: 9
        (10, 3, Reserved(admin=10), 0),
    ],
)
def test_usable(capacity: int, server: int, reserved: Reserved, usable: int) -> None:
    assert usable_connections(capacity, server, reserved).connections == usable


def test_the_arithmetic_is_told() -> None:
    result = usable_connections(170, 3, Reserved(admin=10, replication=2))
    assert result.arithmetic == "170 - 3 of the server - 10 for administrators - 2 for replication = 155"


def test_little_reserve_gets_a_warning() -> None:
    assert usable_connections(170, 3, Reserved(admin=19)).warning is None
    warning = usable_connections(170, 3, Reserved(admin=10)).warning
    assert warning is not None
    assert "10 plus 5 % (19) is advised" in warning


def test_all_reserves_of_the_server_count() -> None:
    assert ServerLimits(100, superuser_reserved=3, reserved=5, provider_reserved=2).server_reserved == 10
