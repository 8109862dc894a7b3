"""Build a second model pack from a registry's package: dlib's face network beside the installed detectors.

.venv-models/bin/python deploy/models/second.py --out build/second-model

It shows, and lets tests show, that another embedder can be brought along (docs/bring-your-own-model.md): ONNX
where the installed pack has TFLite, 150 pixels instead of 112, 128 numbers instead of 192.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
import onnx  # noqa: E402
from fetch import Source, fetch, member  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

from edgeagent.system.modelpack import default_pack_folder  # noqa: E402
from edgeagent.system.packimport import import_pack, read_declaration  # noqa: E402

DECLARATION = Path(__file__).with_name("second.toml")
NETWORK_FILE = "face-recognition.onnx"
SIDE, DIMENSIONS, OPSET = 150, 128, 13
SOURCE: Source = {
    "registry": "node",
    "package": "@vladmandic/face-api@1.7.15",
    "file": "vladmandic-face-api-1.7.15.tgz",
    "package_sha256": "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
}
MEMBERS = {
    "package/model/face_recognition_model-weights_manifest.json": (
        "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b"
    ),
    "package/model/face_recognition_model.bin": (
        "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589"
    ),
}
BLOCKS = (
    "conv32_1",
    "conv32_2",
    "conv32_3",
    "conv64_down",
    "conv64_1",
    "conv64_2",
    "conv64_3",
    "conv128_down",
    "conv128_1",
    "conv128_2",
    "conv256_down",
    "conv256_1",
    "conv256_2",
    "conv256_down_out",
)
"""Residual blocks in order; one named `down` halves the picture."""

Array = npt.NDArray[np.float32]
_STORED: dict[str, npt.DTypeLike] = {"uint8": "<u1", "float32": "<f4"}


def weights_of(description: bytes, content: bytes) -> dict[str, Array]:
    """The package's tensors by name in float32; most are stored as one byte a number."""
    tensors, at = {}, 0
    for part in json.loads(description)[0]["weights"]:
        coding = part.get("quantization", {"dtype": "float32", "scale": 1.0, "min": 0.0})
        stored = np.frombuffer(content, _STORED[coding["dtype"]], int(np.prod(part["shape"])), at)
        value = (stored.astype(np.float64) * coding["scale"] + coding["min"]).astype(np.float32)
        tensors[part["name"]] = value.reshape(part["shape"])
        at += stored.nbytes
    if at != len(content):
        sys.exit(f"the weights end at {at} of {len(content)} bytes")
    return tensors


class Graph:
    """An ONNX graph under construction; every method adds a node and returns the name of what it gives."""

    def __init__(self, tensors: dict[str, Array]) -> None:
        """Take the network's tensors."""
        self._tensors = tensors
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, kind: str, *sources: str, **attributes: Any) -> str:
        """One operator."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(sources), [name], **attributes))
        return name

    def constant(self, value: npt.NDArray[Any]) -> str:
        """One constant."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def conv(self, source: str, name: str, *, stride: int = 1, relu: bool = True) -> str:
        """A convolution with its scale folded in: `(x*w + b) * s + t` is one with `w*s` and `b*s + t`."""
        scale, shift = (self._tensors[f"{name}/scale/{part}"] for part in ("weights", "biases"))
        kernel = (self._tensors[f"{name}/conv/filters"] * scale).transpose(3, 2, 0, 1)
        bias = self._tensors[f"{name}/conv/bias"] * scale + shift
        side = kernel.shape[2]
        pad = side // 2 if stride == 1 else 0
        given = (source, self.constant(kernel), self.constant(bias))
        out = self.node("Conv", *given, kernel_shape=[side, side], strides=[stride] * 2, pads=[pad] * 4)
        return self.node("Relu", out) if relu else out

    def pad(self, source: str, *, channels: int = 0, sides: int = 0) -> str:
        """Zeros after the last channel, row and column."""
        pads = np.array([0, 0, 0, 0, 0, channels, sides, sides], np.int64)
        return self.node("Pad", source, self.constant(pads), mode="constant")


def block(graph: Graph, source: str, name: str, shape: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """One residual block on `shape` = (channels, side); a halving one adds zeros where shapes differ."""
    channels, side = shape
    if not name.partition("_")[2].startswith("down"):
        inner = graph.conv(graph.conv(source, f"{name}/conv1"), f"{name}/conv2", relu=False)
        return graph.node("Relu", graph.node("Add", inner, source)), shape
    wide = int(name.partition("_")[0].removeprefix("conv"))
    inner = graph.conv(graph.conv(source, f"{name}/conv1", stride=2), f"{name}/conv2", relu=False)
    pooled = graph.node("AveragePool", source, kernel_shape=[2, 2], strides=[2, 2])
    if side // 2 != (side - 3) // 2 + 1:
        inner = graph.pad(inner, sides=1)
    if wide != channels:
        pooled = graph.pad(pooled, channels=wide - channels)
    return graph.node("Relu", graph.node("Add", pooled, inner)), (wide, side // 2)


def convert(tensors: dict[str, Array]) -> bytes:
    """The network as ONNX: `image` (1, 3, 150, 150) RGB, normalised, to `template` (1, 128)."""
    graph = Graph(tensors)
    flow = graph.conv("image", "conv32_down", stride=2)
    flow = graph.node("MaxPool", flow, kernel_shape=[3, 3], strides=[2, 2])
    shape = (32, 35)
    for name in BLOCKS:
        flow, shape = block(graph, flow, name, shape)
    flow = graph.node("Flatten", graph.node("GlobalAveragePool", flow))
    last = helper.make_node("MatMul", [flow, graph.constant(tensors["fc"])], ["template"])
    float_type = onnx.TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", float_type, [1, 3, SIDE, SIDE])
    template = helper.make_tensor_value_info("template", float_type, [1, DIMENSIONS])
    made = helper.make_graph([*graph.nodes, last], "dlib face", [image], [template], graph.weights)
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(whole, full_check=True)
    return bytes(whole.SerializeToString())


def pinned(package: Path) -> list[bytes]:
    """The two members, each checked by its own hash too."""
    found = []
    for name, digest in MEMBERS.items():
        content = member(package, name)
        if hashlib.sha256(content).hexdigest() != digest:
            sys.exit(f"{name}: has another sha256 than the one that is pinned")
        found.append(content)
    return found


def main() -> None:
    """Fetch, convert, and import as anybody would import a network of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "second-model")
    parser.add_argument("--cache", type=Path, help="keep the downloaded package here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        description, content = pinned(fetch(SOURCE, options.cache or folder))
        (folder / NETWORK_FILE).write_bytes(convert(weights_of(description, content)))
        (folder / DECLARATION.name).write_bytes(DECLARATION.read_bytes())
        pack = import_pack(read_declaration(folder / DECLARATION.name), default_pack_folder(), options.out)
    print(f"{options.out}: {pack.manifest.name}, pack {pack.sha256}")


if __name__ == "__main__":
    main()
