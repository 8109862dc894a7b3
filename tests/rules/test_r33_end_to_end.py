"""R33 end to end: recorded pictures are no camera, and a bench never passes for a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeagent.documents.messages import CameraState, Presence
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category
from tests.bench_unit import Bench, Officers, Watch, make_bench, subject

pytest_plugins = ["tests.bench_fixtures"]

CAMERA = "v4l2:/dev/video99"  # no such device: a live unit may go LIVE, its camera is then degraded
WANTED = subject(2, Category.WANTED_ON_WARRANT)

Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Benches with another source."""
    running: list[Iterator[Bench]] = []

    def one(**options: Any) -> Bench:
        running.append(make_bench(tmp_path, **options))
        return next(running[-1])

    yield one
    for bench in running:
        assert next(bench, None) is None


@pytest.mark.parametrize(
    ("source", "certificate", "documents", "pattern"),
    [
        (CAMERA, True, {}, r"camera\.source: a bench takes no camera \[R33\] — have a live authority"),
        (
            "",
            True,
            {"kind": Kind.LIVE},
            r"camera\.source: a live authority takes a camera.*generated.*\[R33\]",
        ),
        ("pictures:/tmp", True, {"kind": Kind.LIVE}, r"a live authority takes a camera.*recorded.*\[R33\]"),
        ("", False, {"entries": (subject(), WANTED)}, r"watchlist: a bench takes test subjects only \[R33\]"),
        ("", False, {"entries": (WANTED,)}, r"watchlist: a bench takes test subjects only \[R33\]"),
        (CAMERA, False, {"kind": Kind.LIVE}, r"evaluation certificate: no evaluation certificate.*\[R28\]"),
    ],
)
def test_every_wrong_combination_is_refused_and_the_camera_stays_closed(
    source: str, certificate: bool, documents: dict[str, Any], pattern: str, make: Make
) -> None:
    bench = make(source=source, certificate=certificate)
    bench.put(**documents)
    live = source == CAMERA
    with (
        Watch(bench, bench_topics=not live) as watch,
        bench.unit() as unit,
        Officers(bench, bench_topics=not live),
    ):
        refused = watch.problem(pattern)
        assert refused.kind is None
        assert unit.capture_children() == []


def test_a_bench_speaks_on_bench_topics_only_and_says_that_it_is_one(bench: Bench) -> None:
    bench.put()
    with Watch(bench) as watch, bench.unit(), Officers(bench):
        watch.state(Presence.LIVE)
        watch.until(lambda: watch.alerts)
        assert {arrival.alert.kind for arrival in watch.alerts} == {Kind.BENCH}
        assert {state.kind for state in watch.states if state.deployment} == {Kind.BENCH}
        topics = {message.topic for message in watch.raw}
        assert topics - {watch.topics.health} == {watch.topics.alert, watch.topics.state}
        assert all(topic.startswith("lfr-bench/v1/") for topic in topics)
        assert (bench.path / "data" / "bench" / "outbox.sqlite").exists()
        assert not (bench.path / "data" / "outbox.sqlite").exists()


def test_a_live_unit_speaks_on_live_topics_only_and_no_bench_lease_reaches_it(make: Make) -> None:
    bench = make(source=CAMERA, certificate=True)
    bench.put(kind=Kind.LIVE, entries=(subject(), WANTED))
    with Watch(bench, bench_topics=False) as watch, bench.unit():
        watch.ready()
        with Officers(bench, bench_topics=True) as bench_officers:
            seen = len(watch.states)
            watch.until(lambda: len(watch.states) >= seen + 3)
            assert bench_officers.leases == []  # no challenge of a live unit is seen on a bench
            assert Presence.LIVE not in {state.state for state in watch.states}
        with Officers(bench, bench_topics=False):
            live = watch.state(Presence.LIVE, camera=CameraState.DEGRADED)
            assert "/dev/video99: is not there — plug the camera in" in live.problem
            assert live.kind is Kind.LIVE
        assert {message.topic for message in watch.raw} - {watch.topics.health} == {watch.topics.state}
        assert watch.topics.state.startswith("lfr/v1/")
