"""Which PoolBudgets an event concerns."""

from poolbudget.cluster.observed import Neighbour
from poolbudget.planning.inputs import TargetKey
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.runtime.index import BudgetEntry, BudgetIndex, BudgetKey


def entry(host: str, *names: str) -> BudgetEntry:
    spec = PoolBudgetSpec.model_validate(
        {
            "endpoint": {"host": host},
            "capacity": {"maxConnections": 100},
            "targets": [{"name": name} for name in names],
        }
    )
    return BudgetEntry.of({"uid": "u", "generation": 1}, spec)


ORDERS, BILLING, FAR = (
    BudgetKey("shop", "orders"),
    BudgetKey("shop", "billing"),
    BudgetKey("bank", "orders"),
)


def index() -> BudgetIndex:
    result = BudgetIndex()
    result.put(ORDERS, entry("db", "api", "worker"))
    result.put(BILLING, entry("DB.", "api"))
    result.put(FAR, entry("db", "api"))
    return result


def test_by_target_within_the_namespace() -> None:
    api, worker = TargetKey("Deployment", "api"), TargetKey("Deployment", "worker")
    assert index().binding("shop", api) == [ORDERS, BILLING]
    assert index().binding("shop", worker) == [ORDERS]
    assert index().binding("shop", TargetKey("StatefulSet", "api")) == []


def test_neighbours_on_the_same_endpoint() -> None:
    api = TargetKey("Deployment", "api")
    assert index().neighbours(ORDERS) == (
        Neighbour("bank/orders", (), "bank", "orders"),
        Neighbour("billing", (api,), "shop", "billing"),
    )
    assert index().neighbours(BudgetKey("shop", "unknown")) == ()


def test_a_removed_one_concerns_nobody() -> None:
    smaller = index()
    smaller.remove(BILLING)
    smaller.remove(FAR)
    assert smaller.neighbours(ORDERS) == ()
