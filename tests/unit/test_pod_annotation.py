"""A pod's annotation: written, read back, and edited by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolbudget.client.share import parse_share
from poolbudget.cluster.pod_annotation import annotation_of, followed_by, grant_text, read_grant, shares_of
from poolbudget.planning.in_place import Grant, Told
from poolbudget.planning.inputs import PoolSizes

GRANTS = st.builds(
    Grant,
    revision=st.integers(1, 2**40),
    sizes=st.builds(PoolSizes, st.integers(1, 999), st.integers(0, 999)),
    time=st.integers(0, 2**32).map(float),
    charged=st.integers(0, 10_000),
    earlier=st.lists(st.builds(Told, st.integers(1, 2**40), st.integers(1, 2000)), max_size=6).map(tuple),
    touched=st.integers(0, 50),
)


@given(GRANTS)
def test_what_is_written_is_read_back_by_both_sides(grant: Grant) -> None:
    text = grant_text(grant)
    assert read_grant(text) == grant
    share = parse_share(text)
    assert share is not None
    assert (share.revision, share.cap) == (grant.revision, grant.sizes.cap)


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null", "[" * 4000, "x" * 5000),
        '{"revision": 1, "poolSize": 0, "maxOverflow": 1, "time": "2026-01-01T00:00:00Z", "charged": 1}',
        '{"revision": 1, "poolSize": 1, "maxOverflow": 1, "time": "soon", "charged": 1}',
        '{"revision": 1, "poolSize": 1, "maxOverflow": 1, "time": "2026-01-01T00:00:00Z", "charged": -1}',
        '{"revision": 1, "poolSize": 1, "maxOverflow": 1, "time": 7, "charged": 1}',
    ],
)
def test_what_makes_no_sense_is_nothing(text: str) -> None:
    assert read_grant(text) is None


@given(
    st.text(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["revision", "poolSize", "maxOverflow", "time", "charged", "earlier"]), inner
            )
        ),
    ).map(json.dumps)
)
def test_nothing_that_stands_there_stops_the_operator(text: str) -> None:
    read_grant(text)


def test_which_budgets_have_told_a_pod() -> None:
    metadata = {"annotations": {annotation_of("b"): "2", "else": "x", annotation_of("a"): "1"}}
    assert list(shares_of(metadata)) == [("a", "1"), ("b", "2")]
    assert list(shares_of({})) == []


def volume(budget: str) -> dict[str, object]:
    path = f"metadata.annotations['{annotation_of(budget)}']"
    return {"items": [{"path": budget, "fieldRef": {"fieldPath": path}}]}


def test_which_budgets_a_pod_can_follow() -> None:
    own = {"name": "own", "downwardAPI": volume("orders")}
    projected = {
        "name": "p",
        "projected": {"sources": [{"configMap": {}}, {"downwardAPI": volume("replica")}]},
    }
    other = {
        "name": "o",
        "downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.uid"}}]},
    }
    assert followed_by({"volumes": [own, projected, other, {"emptyDir": {}}]}) == {"orders", "replica"}
    assert followed_by({}) == frozenset()
