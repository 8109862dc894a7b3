from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from edgeagent.alerts.topics import FROM_UNIT, TO_UNIT, Topics, every_unit, split_topic
from edgeagent.errors import ConfigError

KINDS = FROM_UNIT + TO_UNIT


def test_names() -> None:
    live = Topics("van-3", bench=False)
    assert [getattr(live, kind) for kind in KINDS] == [
        "lfr/v1/van-3/alert",
        "lfr/v1/van-3/state",
        "lfr/v1/van-3/health",
        "lfr/v1/van-3/receipt",
        "lfr/v1/van-3/lease",
        "lfr/v1/van-3/revocation",
        "lfr/v1/van-3/verdict",
        "lfr/v1/van-3/review",
    ]
    assert Topics("van-3", bench=True).alert == "lfr-bench/v1/van-3/alert"
    assert every_unit("alert", bench=False) == "lfr/v1/+/alert"


@given(unit=st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True), kind=st.sampled_from(KINDS))
def test_a_live_subscription_never_matches_a_bench_topic(unit: str, kind: str) -> None:  # R33
    live, bench = getattr(Topics(unit, bench=False), kind), getattr(Topics(unit, bench=True), kind)
    assert topic_matches_sub(every_unit(kind, bench=False), live)
    assert not topic_matches_sub(every_unit(kind, bench=False), bench)
    assert not topic_matches_sub(every_unit(kind, bench=True), live)
    assert split_topic(live) == (Topics(unit, bench=False), kind)
    assert split_topic(bench) == (Topics(unit, bench=True), kind)


@pytest.mark.parametrize(
    "name", ["", "+", "#", "a/b", "a+", "$SYS", "Van", "-a", "a" * 64, "é", "a b", "a\n", "a\x00", "../a"]
)
def test_a_name_that_could_reach_another_topic_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="unit name"):
        Topics(name, bench=False)


@given(st.text())
def test_any_other_topic_is_refused(topic: str) -> None:
    with pytest.raises(ConfigError):
        split_topic(topic)


@pytest.mark.parametrize("topic", ["lfr/v1/a/b/alert", "lfr/v1//alert", "x/lfr/v1/a/alert", "lfr/v1/a/alarm"])
def test_nearly_right_topics_are_refused(topic: str) -> None:
    with pytest.raises(ConfigError):
        split_topic(topic)
