"""R1: no exception and no log line says anything of a face, whichever step of the path fails."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from edgeagent.agent import recogniser as recogniser_module
from edgeagent.agent.recogniser import Recogniser
from edgeagent.capture.scene import places
from edgeagent.demo.scene import SUBJECT
from edgeagent.safeguards.decide import Policy
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.match import Gallery
from edgeagent.vision.runtime import Network
from edgeagent.vision.track import Tracker
from edgeagent.vision.types import Frame, UInt8Image
from tests.deletion.search import Index
from tests.deletion.traces import Sight, see, traces
from tests.deletion.trial import Street, write_scene
from tests.real_networks import Eyes, eyes

STEPS: dict[str, tuple[object, str]] = {
    "shrink": (Detector, "_fit"),
    "detect": (Network, "run"),
    "decode": (Detector, "_decode"),
    "track": (Tracker, "assign"),
    "align": (recogniser_module, "align"),
    "embed": (Embedder, "embed"),
    "compare": (Gallery, "nearest"),
    "decide": (recogniser_module, "decide"),
}


@pytest.fixture(scope="module")
def sight(tmp_path_factory: pytest.TempPathFactory) -> tuple[UInt8Image, Sight, Eyes]:
    """A frame with the subject, who is on the list, and what a face in it looks like in every form."""
    street, networks = Street(write_scene(tmp_path_factory.mktemp("scene"))), eyes()
    number = street.frames(SUBJECT)[4]
    frame = street._renderer.draw(number)
    (place,) = places(street._renderer.scene, number)
    found = see(frame, place.face, networks)
    assert found is not None
    return frame, found, networks


def failing(original: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """Fails as a library would, before or after it has done its work."""

    def fails(*arguments: Any, **keywords: Any) -> Any:
        result = original(*arguments, **keywords) if after else None
        raise ValueError(f"injected after {type(result).__name__}")

    return fails


def told(error: BaseException) -> str:
    """Everything that a careless logger could print: texts, notes, causes, and the names of every function.

    The first is left out: it is this test's, which knows what it looks for.
    """
    below = error.__traceback__.tb_next if error.__traceback__ else None
    shown = traceback.TracebackException(type(error), error, below, capture_locals=True)
    return "".join(shown.format()) + repr(error.args)


def fail(seeing: Recogniser, slot: UInt8Image, on_hit: Callable[..., Any]) -> None:
    """One frame, overwritten at its end as the daemon does."""
    try:
        seeing.process(Frame(slot, captured_ns=0, sequence=0), on_hit)
    finally:
        slot.fill(0)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", [*STEPS, "alert"])
def test_a_failure_says_nothing_of_the_face(
    step: str,
    after: bool,
    sight: tuple[UInt8Image, Sight, Eyes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pixels, seen, networks = sight
    gallery = Gallery(seen.template[None].copy(), np.zeros(1, np.int64))
    seeing = Recogniser(networks.detector, networks.embedder, gallery, Policy(0.5, 0.05, 1), 60.0)
    if step in STEPS:
        owner, name = STEPS[step]
        monkeypatch.setattr(owner, name, failing(getattr(owner, name), after=after))
    slot = pixels.copy()
    with caplog.at_level(logging.DEBUG), pytest.raises(ValueError, match="injected") as failure:
        fail(seeing, slot, failing(lambda *_: None, after=after))
    text = told(failure.value) + caplog.text
    index = Index(traces(seen, networks))
    assert index.search(text.encode() + bytes(8)) == {}
    assert not [value for value in numbers(seen) if value in text]
    assert not seeing._memory._whole.any()


def numbers(seen: Sight) -> Iterator[str]:
    """Landmarks and template as people would print them."""
    for value in (*seen.face.landmarks.ravel(), *seen.template[:20]):
        if abs(value) > 1e-3:
            yield f"{value:.4f}"
            yield json.dumps(float(value))


def test_the_search_would_see_a_face_that_is_told(sight: tuple[UInt8Image, Sight, Eyes]) -> None:
    _, seen, networks = sight
    index = Index(traces(seen, networks))
    error = ValueError("a template", seen.template.tobytes().hex())
    assert index.search(told(error).encode() + bytes(8))
