"""YuNet's ONNX graph as a float32 TFLite model for any input size that is a multiple of 32.

The graph is channel-first with a fixed 640×640 input; here it is rebuilt channel-last for the size
wanted, which makes the transposes before its outputs vanish. Every weight is kept as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from ai_edge_litert import schema_py_generated as schema
from flatgraph import OP, Graph, conv_options

HEAD = "bbox_head"
"""How the names of the detection heads' convolutions begin."""
OUTPUTS = tuple(f"{head}_{stride}" for head in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))


@dataclass
class _Conversion:
    graph: Graph
    weights: dict[str, npt.NDArray[Any]]
    readers: dict[str, list[onnx.NodeProto]]
    index: dict[str, int] = field(default_factory=dict)
    """Tensor index of each ONNX value made so far."""
    fused: set[str] = field(default_factory=set)
    """Outputs of Relu nodes that a convolution already applies."""

    def shape(self, value: str) -> tuple[int, ...]:
        return self.graph.shapes[self.index[value]]

    def emit(
        self, node: onnx.NodeProto, code: int, inputs: list[int], shape: tuple[int, ...], options: Any = None
    ) -> None:
        # The heads' weights have telling names and their values have not; quantisation asks by name.
        head = next((name for name in node.input if name.startswith(HEAD)), "")
        name = f"{head}:{node.output[0]}" if head else node.output[0]
        self.index[node.output[0]] = self.graph.add(code, inputs, name, shape, options)


def convert(onnx_file: bytes, width: int, height: int) -> bytes:
    """Return the TFLite model with input `image` (1, height, width, 3), BGR pixel values 0 to 255.

    Outputs by name: `cls_8` … `kps_32`, each (1, cells, 1 | 4 | 10) for strides 8, 16 and 32.

    Raises:
        ValueError: the size is no multiple of 32, or the graph has an operator that YuNet has not.
    """
    if width % 32 or height % 32:
        raise ValueError(f"YuNet needs multiples of 32, got {width}x{height}")
    model = onnx.load_model_from_string(onnx_file).graph
    weights = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    work = _Conversion(Graph("YuNet 2023mar, channel-last"), weights, readers)
    work.index[model.input[0].name] = work.graph.tensor("image", (1, height, width, 3))
    for node in model.node:
        if node.op_type not in _OPERATORS:
            raise ValueError(f"operator {node.op_type} is not part of YuNet")
        _OPERATORS[node.op_type](work, node)
    image = work.index[model.input[0].name]
    return work.graph.serialise({"image": image}, {name: work.index[name] for name in OUTPUTS})


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def _conv(work: _Conversion, node: onnx.NodeProto) -> None:
    source, weight_name, bias_name = node.input
    attributes, weight = _attributes(node), work.weights[weight_name]
    stride, pad = attributes["strides"][0], attributes["pads"][0]
    depthwise = attributes["group"] > 1
    # ONNX (out, in / group, y, x) becomes (1, y, x, channels) for depthwise, else (out, y, x, in).
    kernel = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
    incoming = work.index[source]
    if stride == 2:
        incoming = _pad_before(work, source)
    _, height, width, _ = work.shape(source)
    next_nodes = work.readers.get(node.output[0], [])
    relu = len(next_nodes) == 1 and next_nodes[0].op_type == "Relu"
    if relu:
        work.fused.add(next_nodes[0].output[0])
    work.emit(
        node,
        OP.DEPTHWISE_CONV_2D if depthwise else OP.CONV_2D,
        [
            incoming,
            work.graph.constant(weight_name, kernel.astype(np.float32)),
            work.graph.constant(bias_name, work.weights[bias_name].astype(np.float32)),
        ],
        (1, height // stride, width // stride, weight.shape[0]),
        conv_options(depthwise=depthwise, stride=stride, same=stride == 1 and pad > 0, relu=relu),
    )


def _pad_before(work: _Conversion, source: str) -> int:
    # TFLite's "same" padding puts the odd pixel after the picture at stride 2; YuNet has it before.
    paddings = np.array([[0, 0], [1, 0], [1, 0], [0, 0]], dtype=np.int32)
    _, height, width, channels = work.shape(source)
    return work.graph.add(
        OP.PAD,
        [work.index[source], work.graph.constant("paddings", paddings)],
        "padded",
        (1, height + 1, width + 1, channels),
        schema.PadOptionsT(),
    )


def _relu(work: _Conversion, node: onnx.NodeProto) -> None:
    if node.output[0] not in work.fused:
        raise ValueError("YuNet applies Relu after convolutions only")
    work.index[node.output[0]] = work.index[node.input[0]]


def _max_pool(work: _Conversion, node: onnx.NodeProto) -> None:
    _, height, width, channels = work.shape(node.input[0])
    options = schema.Pool2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideW = options.strideH = options.filterWidth = options.filterHeight = 2
    work.emit(
        node, OP.MAX_POOL_2D, [work.index[node.input[0]]], (1, height // 2, width // 2, channels), options
    )


def _resize(work: _Conversion, node: onnx.NodeProto) -> None:
    _, height, width, channels = work.shape(node.input[0])
    shape = (1, height * 2, width * 2, channels)
    size = work.graph.constant(f"size_{node.output[0]}", np.array(shape[1:3], dtype=np.int32))
    options = schema.ResizeNearestNeighborOptionsT()
    work.emit(node, OP.RESIZE_NEAREST_NEIGHBOR, [work.index[node.input[0]], size], shape, options)


def _add(work: _Conversion, node: onnx.NodeProto) -> None:
    inputs = [work.index[value] for value in node.input]
    work.emit(node, OP.ADD, inputs, work.shape(node.input[0]), schema.AddOptionsT())


def _transpose(work: _Conversion, node: onnx.NodeProto) -> None:
    if list(_attributes(node)["perm"]) != [0, 2, 3, 1]:
        raise ValueError("YuNet transposes to channel-last only")
    work.index[node.output[0]] = work.index[node.input[0]]


def _reshape(work: _Conversion, node: onnx.NodeProto) -> None:
    _, height, width, channels = work.shape(node.input[0])
    shape = (1, height * width, channels)
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    target = work.graph.constant(f"shape_{node.output[0]}", np.array(shape, dtype=np.int32))
    work.emit(node, OP.RESHAPE, [work.index[node.input[0]], target], shape, options)


def _sigmoid(work: _Conversion, node: onnx.NodeProto) -> None:
    work.emit(node, OP.LOGISTIC, [work.index[node.input[0]]], work.shape(node.input[0]))


_OPERATORS: dict[str, Callable[[_Conversion, onnx.NodeProto], None]] = {
    "Conv": _conv,
    "Relu": _relu,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "Add": _add,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Sigmoid": _sigmoid,
}
