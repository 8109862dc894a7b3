"""The self-test: networks that give something else than when the pack was made do not run.

Here the hashes are in order, as if somebody had made a pack with other networks in it.
"""

from __future__ import annotations

import importlib
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

NETWORKS = {
    "detector near": "detector-near.tflite",
    "detector far": "detector-far.tflite",
    "embedder": "embedder.tflite",
}


def with_file(name: str, content: bytes) -> ModelPack:
    pack = model_pack()
    return replace(pack, files={**pack.files, name: content})


def with_golden(**changes: object) -> ModelPack:
    pack = model_pack()
    golden = Golden(**(pack.manifest.golden.model_dump() | changes))
    return replace(pack, manifest=pack.manifest.model_copy(update={"golden": golden}))


def constants_of(content: bytes) -> list[tuple[int, int]]:
    """Offset and number of every constant of a detector's file that is float32 weights or a bias."""
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(model_content=content)
    interpreter.allocate_tensors()
    found = []
    for entry in interpreter.get_tensor_details():
        if entry["dtype"] != np.float32 or not entry["name"].endswith(("/weight", "/bias")):
            continue
        held = interpreter.get_tensor(entry["index"]).tobytes()
        if content.count(held) == 1:
            found.append((content.index(held), len(held) // 4))
    return found


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
    assert set(report.delegated) == set(report.milliseconds) == set(NETWORKS)
    assert all(count > 50 for count in report.delegated.values())
    assert all(0 < taken < 5000 for taken in report.milliseconds.values())
    assert "detector far" in str(report)
    assert "ops on XNNPACK" in str(report)


@pytest.mark.parametrize("network", NETWORKS)
def test_other_weights_are_refused_even_under_a_right_hash(network: str) -> None:
    name = NETWORKS[network]
    with pytest.raises(ModelError) as refusal:
        self_test(with_file(name, with_other_weights(model_pack().files[name])))
    assert refusal.value.where == network
    assert "install the model pack again" in refusal.value.next_step


@pytest.mark.parametrize("name", ["detector-near.tflite", "detector-far.tflite", "embedder.tflite"])
@pytest.mark.parametrize("kept", [0.2, 0.95])
def test_a_network_cut_short_is_refused(name: str, kept: float) -> None:
    content = model_pack().files[name]
    with pytest.raises(ModelError, match="cannot load this model"):
        self_test(with_file(name, content[: int(len(content) * kept)]))


@pytest.mark.parametrize("content", [b"x", b"not a model" * 100, bytes(4096)])
def test_what_is_no_network_is_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="cannot load this model"):
        self_test(with_file(model_pack().model("embedder").file, content))


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.4])
def test_a_detector_that_still_finds_the_face_but_answers_otherwise_is_refused(factor: float) -> None:
    """One layer altered at a time: most would pass if only the found face were looked at."""
    name = NETWORKS["detector near"]
    content = model_pack().files[name]
    layers = constants_of(content)
    assert len(layers) > 25
    refused = []
    for start, count in layers:
        altered = np.frombuffer(content, np.uint8).copy()
        weights = altered[start : start + 4 * count].view(np.float32)
        weights *= np.float32(factor)
        try:
            self_test(with_file(name, altered.tobytes()))
        except ModelError as refusal:
            refused.append(refusal.what)
    assert len(refused) >= 0.9 * len(layers)
    assert any("gives another answer" in what for what in refused)


def test_a_golden_response_of_another_length_is_refused() -> None:
    golden = model_pack().manifest.golden
    near = golden.detectors["near"].model_copy(update={"response": (0.0,)})
    with pytest.raises(ModelError, match="another length"):
        self_test(with_golden(detectors=golden.detectors | {"near": near}))


def test_a_golden_response_that_is_no_number_is_refused() -> None:
    golden = model_pack().manifest.golden
    response = (float("nan"), *golden.detectors["far"].response[1:])
    far = golden.detectors["far"].model_copy(update={"response": response})
    with pytest.raises(ModelError, match="another answer") as refusal:
        self_test(with_golden(detectors=golden.detectors | {"far": far}))
    assert refusal.value.where == "detector far"


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
