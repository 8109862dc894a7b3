"""The self-test: networks that give something else than when the pack was made do not run.

Here the hashes are in order, as if somebody had made a pack with other networks in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgeagent.errors import ModelError
from edgeagent.system.modelpack import Golden, ModelPack
from edgeagent.system.selftest import decode, pattern, self_test
from edgeagent.vision.runtime import Network
from tests.real_networks import eyes, model_pack


def with_file(name: str, content: bytes) -> ModelPack:
    pack = model_pack()
    return replace(pack, files={**pack.files, name: content})


def with_golden(**changes: object) -> ModelPack:
    pack = model_pack()
    golden = Golden(**(pack.manifest.golden.model_dump() | changes))
    return replace(pack, manifest=pack.manifest.model_copy(update={"golden": golden}))


def with_other_weights(content: bytes) -> bytes:
    """The same network with its five longest runs of weights changed: long runs without zeros are weights."""
    words = np.frombuffer(content[: len(content) // 4 * 4], np.uint8).reshape(-1, 4)
    breaks = np.flatnonzero((words == 0).sum(axis=1) >= 2) * 4
    altered = np.frombuffer(content, np.uint8).copy()
    for longest in np.argsort(-np.diff(breaks), kind="stable")[:5]:
        altered[breaks[longest] + 64 : breaks[longest + 1] - 64] ^= 0x55
    return altered.tobytes()


def test_the_installed_pack_passes_and_says_how() -> None:
    report = self_test(model_pack())
    assert report.runtime.startswith(("ai-edge-litert ", "tflite-runtime "))
    assert set(report.delegated) == set(report.milliseconds) == {"detector", "embedder"}
    assert all(count > 50 for count in report.delegated.values())
    assert all(0 < taken < 5000 for taken in report.milliseconds.values())
    assert "detector" in str(report)
    assert "ops on XNNPACK" in str(report)


@pytest.mark.parametrize("role", ["detector", "embedder"])
def test_other_weights_are_refused_even_under_a_right_hash(role: str) -> None:
    name = model_pack().model(role).file
    with pytest.raises(ModelError) as refusal:
        self_test(with_file(name, with_other_weights(model_pack().files[name])))
    assert refusal.value.where == role
    assert "install the model pack again" in refusal.value.next_step


@pytest.mark.parametrize("role", ["detector", "embedder"])
@pytest.mark.parametrize("kept", [0.2, 0.95])
def test_a_network_cut_short_is_refused(role: str, kept: float) -> None:
    name = model_pack().model(role).file
    content = model_pack().files[name]
    with pytest.raises(ModelError, match="cannot load this model"):
        self_test(with_file(name, content[: int(len(content) * kept)]))


@pytest.mark.parametrize("content", [b"x", b"not a model" * 100, bytes(4096)])
def test_what_is_no_network_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="cannot load this model"):
        self_test(with_file(model_pack().model("embedder").file, content))


def test_a_runtime_without_acceleration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "delegated_ops", lambda self: 0)
    with pytest.raises(ModelError, match="XNNPACK") as refusal:
        self_test(model_pack())
    assert "ai-edge-litert" in refusal.value.next_step


def png(pixels: object) -> bytes:
    done, content = cv2.imencode(".png", np.asarray(pixels, np.uint8))
    assert done
    return bytes(content)


def test_a_golden_picture_without_its_face_is_refused() -> None:
    name = model_pack().manifest.golden.picture
    height, width = decode(model_pack().files[name]).shape[:2]
    with pytest.raises(ModelError, match="found 0 faces in a picture of one"):
        self_test(with_file(name, png(np.full((height, width, 3), 128))))


def test_a_golden_picture_that_moved_is_refused() -> None:
    name = model_pack().manifest.golden.picture
    moved = np.roll(decode(model_pack().files[name]), 12, axis=1)
    with pytest.raises(ModelError, match="puts landmarks"):
        self_test(with_file(name, png(moved)))


def test_a_golden_picture_that_is_none_is_refused() -> None:
    name = model_pack().manifest.golden.picture
    with pytest.raises(ModelError, match="is not a picture"):
        self_test(with_file(name, b"not a picture"))


TEMPLATES: dict[str, Callable[[tuple[float, ...]], tuple[float, ...]]] = {
    "opposite": lambda template: tuple(-value for value in template),
    "another length": lambda template: template[:-1],
    "no direction": lambda template: (0.0,) * len(template),
    "one direction": lambda template: (1.0,) + (0.0,) * (len(template) - 1),
}


@pytest.mark.parametrize("change", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_another_golden_template_is_refused(
    change: Callable[[tuple[float, ...]], tuple[float, ...]],
) -> None:
    with pytest.raises(ModelError) as refusal:
        self_test(with_golden(template=change(model_pack().manifest.golden.template)))
    assert refusal.value.where == "embedder"


def test_the_pattern_is_nobody() -> None:
    """The golden template may lie open in the pack because it is of a drawing."""
    assert eyes().faces(np.asarray(cv2.resize(pattern(), (448, 448)), np.uint8)) == []
