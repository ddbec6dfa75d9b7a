"""The ConfigMap: made, read back, recognised."""

from dataclasses import replace
from typing import Any

import pytest

from poolbudget.cluster import config_map
from poolbudget.cluster.config_map import BudgetReference, WantedConfigMap
from poolbudget.planning.history import UNKNOWN, History, first_entry
from poolbudget.planning.inputs import PodCost, PoolSizes, TargetKey
from poolbudget.recipes.render import Recipe
from poolbudget.resource.endpoint import Endpoint
from poolbudget.resource.spec import PoolBudgetSpec
from poolbudget.resource.target import KeyFormat

BUDGET = BudgetReference("shop", "orders", "uid-1")
KEY = TargetKey("Deployment", "api")
COST = PodCost(1, 0)
RECIPE = Recipe(Endpoint(host="db"), "api", ())
WANTED = WantedConfigMap("api-pool", KEY, ("",), PoolSizes(35, 15), COST, owned=False, recipe=RECIPE)


def history(wanted: WantedConfigMap) -> History:
    return first_entry(1, wanted.sizes.cap, wanted.cost, 1000.0)


def written(wanted: WantedConfigMap = WANTED, **data: str) -> dict[str, Any]:
    """As the API server would give it back."""
    manifest = config_map.to_manifest(wanted, BUDGET, None, history(wanted), 1)
    manifest["metadata"]["resourceVersion"] = "7"
    manifest["data"].update(data)
    return manifest


def spec(**target: Any) -> PoolBudgetSpec:
    return PoolBudgetSpec.model_validate(
        {
            "endpoint": {"host": "db"},
            "capacity": {"maxConnections": 100},
            "targets": [{"name": "api", **target}],
        }
    )


def test_keys_and_marks() -> None:
    manifest = written(
        WantedConfigMap("p", KEY, ("PRIMARY_",), PoolSizes(7, 3), COST, owned=False, recipe=RECIPE)
    )
    assert manifest["data"] == {
        "PRIMARY_POOL_SIZE": "7",
        "PRIMARY_MAX_OVERFLOW": "3",
        "PRIMARY_pool.json": '{"POOL_SIZE":"7","MAX_OVERFLOW":"3"}',
    }
    assert manifest["metadata"]["annotations"]["reloader.stakater.com/ignore"] == "true"
    assert config_map.published_sizes(manifest) == PoolSizes(7, 3)
    assert config_map.target_of(manifest) == KEY
    assert config_map.key_prefixes_of(manifest) == ("PRIMARY_",)
    assert config_map.owner(manifest) == "orders"
    assert config_map.owner({"metadata": {"labels": {config_map.BUDGET: "orders"}}}) is None


def test_an_owner_whose_labels_were_removed_is_still_known() -> None:
    fields = [
        {"manager": "kubectl", "operation": "Update"},
        {"manager": "poolbudget/orders", "operation": "Apply"},
    ]
    assert config_map.owner({"metadata": {"managedFields": fields}}) == "orders"
    empty = {config_map.MANAGED_BY: "poolbudget", config_map.BUDGET: ""}
    assert config_map.owner({"metadata": {"labels": empty}}) is None


def test_what_is_written_is_what_was_wanted() -> None:
    assert not config_map.differs(WANTED, BUDGET, written())


@pytest.mark.parametrize(
    "live",
    [
        None,
        written(POOL_SIZE="500"),
        written(WantedConfigMap("api-pool", KEY, ("",), PoolSizes(36, 15), COST, owned=False, recipe=RECIPE)),
        written(
            WantedConfigMap("api-pool", KEY, ("OLD_",), PoolSizes(35, 15), COST, owned=False, recipe=RECIPE)
        ),
        written(WantedConfigMap("api-pool", KEY, ("",), PoolSizes(35, 15), COST, owned=True, recipe=RECIPE)),
    ],
    ids=["missing", "edited", "other sizes", "other prefix", "other owner"],
)
def test_what_differs_is_written(live: dict[str, Any] | None) -> None:
    assert config_map.differs(WANTED, BUDGET, live)


def test_what_others_add_is_left_alone() -> None:
    live = written(LOG_LEVEL="debug")
    live["metadata"]["labels"]["team"] = "shop"
    assert not config_map.differs(WANTED, BUDGET, live)


def test_a_key_that_is_wanted_no_longer_must_go() -> None:
    """One of ours for another pool would tell a starting container a size of former times."""
    live = written(OLD_POOL_MAX="50")
    fields = {"f:data": {f"f:{key}": {} for key in [*WANTED.data, "OLD_POOL_MAX"]}}
    live["metadata"]["managedFields"] = [
        {"manager": "poolbudget/orders", "operation": "Apply", "fieldsV1": fields}
    ]
    assert config_map.differs(WANTED, BUDGET, live)
    del fields["f:data"]["f:OLD_POOL_MAX"]
    assert not config_map.differs(WANTED, BUDGET, live)


HIKARI = replace(WANTED, recipe=replace(RECIPE, formats=(KeyFormat.HIKARI_CP,)))


def test_an_edited_key_for_another_pool_may_mean_anything() -> None:
    """Its pods read that key, and not POOL_SIZE."""
    now = 1001.0
    assert config_map.history_of(written(HIKARI), BUDGET, now).entries[-1].cap == 50
    live = written(HIKARI, SPRING_DATASOURCE_HIKARI_MAXIMUM_POOL_SIZE="500")
    assert config_map.history_of(live, BUDGET, now).entries[-1].cap == UNKNOWN
    for text in ("{nonsense", "{}", "[1]", ""):
        live["metadata"]["annotations"][config_map.SIZE_KEYS] = text
        assert config_map.history_of(live, BUDGET, now, HIKARI.recipe).entries[-1].cap == UNKNOWN
    # Asked for just now, and never written yet: nobody can have read it.
    assert config_map.history_of(written(), BUDGET, now, HIKARI.recipe).entries[-1].cap == 50


@pytest.mark.parametrize("text", ["", "35", "35/", "0/5", "-1/5", "a/b", "35/15/2", "\u0663/1", "9999999/1"])
def test_a_record_that_makes_no_sense_is_no_record(text: str) -> None:
    live = written()
    live["metadata"]["annotations"][config_map.PUBLISHED] = text
    assert config_map.published_sizes(live) is None


def test_a_write_is_fenced() -> None:
    live = written()
    assert (
        config_map.to_manifest(WANTED, BUDGET, live, history(WANTED), 1)["metadata"]["resourceVersion"] == "7"
    )
    assert (
        config_map.to_manifest(WANTED, BUDGET, None, history(WANTED), 1)["metadata"]["resourceVersion"] == "1"
    )


def test_an_older_name_is_kept_up_to_date() -> None:
    renamed = spec(configMap={"name": "new"})
    found = config_map.wanted(renamed, renamed.targets[0], RECIPE, PoolSizes(7, 3), {"api-pool": written()})
    assert [item.name for item in found] == ["new", "api-pool"]
    assert {item.sizes for item in found} == {PoolSizes(7, 3)}


def test_a_former_prefix_keeps_its_keys() -> None:
    changed = spec(configMap={"keyPrefix": "DB_"})
    [found] = config_map.wanted(changed, changed.targets[0], RECIPE, PoolSizes(7, 3), {"api-pool": written()})
    assert found.key_prefixes == ("", "DB_")
    keys = ("POOL_SIZE", "MAX_OVERFLOW", "pool.json")
    assert set(found.data) == {*keys, *(f"DB_{key}" for key in keys)}


def test_garbage_in_the_prefixes_is_left_out() -> None:
    live = written()
    live["metadata"]["annotations"][config_map.KEY_PREFIXES] = "9x,OK_,a b"
    assert config_map.key_prefixes_of(live) == ("OK_",)


def test_off_writes_nothing() -> None:
    off = spec(updateMode="Off")
    assert config_map.wanted(off, off.targets[0], RECIPE, PoolSizes(7, 3), {}) == []


def test_delete_policy_gives_an_owner() -> None:
    owned = WantedConfigMap("api-pool", KEY, ("",), PoolSizes(35, 15), COST, owned=True, recipe=RECIPE)
    [reference] = config_map.to_manifest(owned, BUDGET, None, history(owned), 1)["metadata"][
        "ownerReferences"
    ]
    assert reference["uid"] == "uid-1"
    assert "blockOwnerDeletion" not in reference
