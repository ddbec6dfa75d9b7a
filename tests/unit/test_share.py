"""A pod's share in its file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolbudget.client.share import Share, ShareError, parse_share


def test_a_share() -> None:
    text = '{"revision": 7, "poolSize": 9, "maxOverflow": 4, "charged": 50}'
    assert parse_share(text) == Share(7, 9, 4)
    assert Share(7, 9, 4).cap == 13


@pytest.mark.parametrize("text", ["", "\n"])
def test_a_pod_without_one(text: str) -> None:
    assert parse_share(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "no JSON"),
        ("[1]", "no JSON object"),
        ("[" * 3000, "no JSON"),
        ("{}", "revision must be a whole number from 1, not None"),
        ('{"revision": 7, "poolSize": 0, "maxOverflow": 4}', "poolSize must be a whole number from 1, not 0"),
        ('{"revision": 7, "poolSize": 2, "maxOverflow": -1}', "maxOverflow must be a whole number from 0"),
        ('{"revision": true, "poolSize": 2, "maxOverflow": 1}', "revision must be"),
        ('{"revision": 7, "poolSize": 2.5, "maxOverflow": 1}', "poolSize must be"),
        ('{"revision": 7, "poolSize": "2", "maxOverflow": 1}', "poolSize must be"),
        ("{" + " " * 5000, "longer than"),
    ],
)
def test_no_guessing(text: str, words: str) -> None:
    with pytest.raises(ShareError, match=words):
        parse_share(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.dictionaries(st.sampled_from(["revision", "poolSize", "maxOverflow", "x"]), inner),
    )
)
def test_whatever_stands_there_is_a_share_or_an_error(content: object) -> None:
    try:
        share = parse_share(json.dumps(content))
    except ShareError:
        return
    assert share is not None
    assert share.pool_size >= 1
    assert share.max_overflow >= 0
