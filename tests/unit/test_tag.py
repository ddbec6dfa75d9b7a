"""The tag in application_name, and what a process is called in it."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolbudget.client.process import living_processes, this_process
from poolbudget.tag import MOST_BYTES, Tag, budget_part, labelled, pod_part, read_tag, without_tag

TAG = Tag("3f2a9c51d7e0", "k3j9x2", "7f2e", 0, 1_764_139_200, 13)
TAGS = st.builds(
    Tag,
    pod=st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
    process=st.from_regex(r"[0-9a-z]{1,6}", fullmatch=True),
    budget=st.from_regex(r"[0-9a-f]{4}", fullmatch=True),
    pool=st.integers(0, 99),
    revision=st.integers(0, 2**40),
    cap=st.integers(0, 99_999),
)


def test_what_stands_in_pg_stat_activity() -> None:
    assert labelled("orders", TAG) == "orders pb:3f2a9c51d7e0.k3j9x2.7f2e.0.t6bmio.13"
    assert labelled("", TAG) == "pb:3f2a9c51d7e0.k3j9x2.7f2e.0.t6bmio.13"


@given(tag=TAGS, name=st.text(max_size=100))
def test_a_tag_survives_whatever_name_stands_before_it(tag: Tag, name: str) -> None:
    label = labelled(name, tag)
    assert len(label.encode()) <= MOST_BYTES
    assert label.isascii()
    assert "\\" not in label
    assert read_tag(label) == tag
    assert read_tag(labelled(label, tag)) == tag


@pytest.mark.parametrize(
    "name", ["", "orders", "orders pb:", "pb:zz.a.0.1.1", "pb:3f2a9c51d7e0.k3.7f2e.0.1.13 x"]
)
def test_what_is_no_tag(name: str) -> None:
    assert read_tag(name) is None
    assert without_tag(name) == name


def test_a_pod_goes_by_the_last_group_of_its_uid() -> None:
    assert pod_part("0A1B2C3D-1111-2222-3333-3F2A9C51D7E0\n") == "3f2a9c51d7e0"
    with pytest.raises(ValueError, match="not the UID of a pod"):
        pod_part("orders-7d9f-abcde")


def test_budgets_are_told_apart() -> None:
    assert budget_part("orders-primary") != budget_part("orders-replica")


def test_each_process_has_a_name_that_is_not_given_again() -> None:
    mine = this_process()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, this_process().encode())
        os._exit(0)
    theirs = os.read(reading, 20).decode()
    os.waitpid(child, 0)
    assert mine != theirs
    assert mine in living_processes()
    assert theirs not in living_processes()
    os.close(reading)
    os.close(writing)


def test_a_zombie_is_not_alive() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, this_process().encode())
        os._exit(0)
    name = os.read(reading, 20).decode()
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert name not in living_processes()
    finally:
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)
