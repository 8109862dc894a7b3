"""YuNet's ONNX graph as a float32 TFLite model for any input size that is a multiple of 32.

The graph is channel-first with a fixed 640×640 input; here it is rebuilt channel-last for the size
wanted, which makes the transposes before its outputs vanish. Every weight is kept as it is; the four heads
of a stride become one, which changes no sum.
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
DENSE_INT8 = (r"CONV_2D:^(backbone\.model(2\.conv2|[345])|neck)",)
"""The pointwise convolutions with 64 outputs: the ones that are faster in int8 (README.md)."""
BACKBONE_INT8 = (
    "PAD",
    f"CONV_2D:^(?!{HEAD})",
    f"DEPTHWISE_CONV_2D:^(?!{HEAD})",
    "MAX_POOL_2D",
    "ADD",
    "RESIZE_NEAREST_NEIGHBOR",
)
"""Everything but the heads, for `make bench-models` to compare with."""
STRIDES = (8, 16, 32)
PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""What the heads give for each cell, and in how many channels."""
OUTPUTS = tuple(f"{part}_{stride}" for part in PARTS for stride in STRIDES)
_PROBABILITIES = ("cls", "obj")
Weights = npt.NDArray[np.float32]


@dataclass
class _Conversion:
    graph: Graph
    weights: dict[str, npt.NDArray[Any]]
    readers: dict[str, list[onnx.NodeProto]]
    index: dict[str, int] = field(default_factory=dict)
    """Tensor index of each ONNX value made so far."""

    def shape(self, value: str) -> tuple[int, ...]:
        return self.graph.shapes[self.index[value]]

    def emit(
        self, node: onnx.NodeProto, code: int, inputs: list[int], shape: tuple[int, ...], options: Any = None
    ) -> None:
        self.index[node.output[0]] = self.graph.add(code, inputs, node.output[0], shape, options)

    def convolve(
        self, name: str, source: int, weight: Weights, bias: Weights, *, stride: int = 1, relu: bool = False
    ) -> int:
        """Add a convolution with ONNX weights (out, in / group, y, x) and return its output."""
        depthwise = weight.shape[1] == 1
        # Becomes (1, y, x, channels) for depthwise, else (out, y, x, in).
        kernel = weight.transpose(1, 2, 3, 0) if depthwise else weight.transpose(0, 2, 3, 1)
        _, height, width, _ = self.graph.shapes[source]
        if stride == 2:
            source = _pad_before(self.graph, source)
        return self.graph.add(
            OP.DEPTHWISE_CONV_2D if depthwise else OP.CONV_2D,
            [
                source,
                self.graph.constant(f"{name}/weight", np.ascontiguousarray(kernel, np.float32)),
                self.graph.constant(f"{name}/bias", bias.astype(np.float32)),
            ],
            name,
            (1, height // stride, width // stride, weight.shape[0]),
            conv_options(
                depthwise=depthwise, stride=stride, same=stride == 1 and weight.shape[2] > 1, relu=relu
            ),
        )


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
    work = _Conversion(Graph("YuNet 2023mar, channel-last, merged heads"), weights, readers)
    image = work.graph.tensor("image", (1, height, width, 3))
    work.index[model.input[0].name] = image
    for node in model.node:
        if node.op_type not in _OPERATORS:
            raise ValueError(f"operator {node.op_type} is not part of YuNet")
        _OPERATORS[node.op_type](work, node)
    outputs: dict[str, int] = {}
    for level, stride in enumerate(STRIDES):
        outputs |= _heads(work, level, stride)
    return work.graph.serialise({"image": image}, {name: outputs[name] for name in OUTPUTS})


def _heads(work: _Conversion, level: int, stride: int) -> dict[str, int]:
    """Add the four heads of one stride as one: the same sums, but each feature is read once, not four times.

    The sixteen channels of the four together fill a vector register; one alone leaves it empty.
    """
    names = [f"{HEAD}.multi_level_{part}.{level}" for part in PARTS]
    feature = work.readers[f"{names[0]}.conv1.weight"][0].input[0]
    tensor = work.index[feature]
    for conv in ("conv1", "conv2"):
        weight, bias = (
            np.concatenate([work.weights[f"{name}.{conv}.{kind}"] for name in names])
            for kind in ("weight", "bias")
        )
        tensor = work.convolve(f"{HEAD}_{stride}/{conv}", tensor, weight, bias)
    _, height, width, channels = work.graph.shapes[tensor]
    cells = _reshaped(work, tensor, f"{HEAD}_{stride}/cells", (1, height * width, channels))
    outputs, first = {}, 0
    for part, depth in PARTS.items():
        outputs[f"{part}_{stride}"] = _part(work, cells, f"{part}_{stride}", first, depth)
        first += depth
    return outputs


def _part(work: _Conversion, cells: int, name: str, first: int, depth: int) -> int:
    shape = (1, work.graph.shapes[cells][1], depth)
    begin = work.graph.constant(f"{name}/begin", np.array([0, 0, first], np.int32))
    size = work.graph.constant(f"{name}/size", np.array(shape, np.int32))
    if not name.startswith(_PROBABILITIES):
        return work.graph.add(OP.SLICE, [cells, begin, size], name, shape, schema.SliceOptionsT())
    logits = work.graph.add(OP.SLICE, [cells, begin, size], f"{name}/logits", shape, schema.SliceOptionsT())
    return work.graph.add(OP.LOGISTIC, [logits], name, shape)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def _conv(work: _Conversion, node: onnx.NodeProto) -> None:
    source, weight_name, bias_name = node.input
    if weight_name.startswith(HEAD):
        return  # `_heads` adds them together
    following = work.readers[node.output[0]]
    relu = following[0].op_type == "Relu"
    if relu and len(following) > 1:
        raise ValueError("YuNet reads what goes into a Relu nowhere else")
    stride = _attributes(node)["strides"][0]
    weight, bias = work.weights[weight_name], work.weights[bias_name]
    # Pointwise weights have telling names and the values have not; quantisation asks by name.
    name = weight_name.removesuffix(".conv1.weight") if "." in weight_name else node.output[0]
    output = work.convolve(name, work.index[source], weight, bias, stride=stride, relu=relu)
    work.index[node.output[0]] = output
    if relu:
        work.index[following[0].output[0]] = output


def _pad_before(graph: Graph, source: int) -> int:
    # TFLite's "same" padding puts the odd pixel after the picture at stride 2; YuNet has it before.
    paddings = np.array([[0, 0], [1, 0], [1, 0], [0, 0]], dtype=np.int32)
    _, height, width, channels = graph.shapes[source]
    return graph.add(
        OP.PAD,
        [source, graph.constant("paddings", paddings)],
        "padded",
        (1, height + 1, width + 1, channels),
        schema.PadOptionsT(),
    )


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


def _reshaped(work: _Conversion, source: int, name: str, shape: tuple[int, ...]) -> int:
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    target = work.graph.constant(f"{name}/shape", np.array(shape, dtype=np.int32))
    return work.graph.add(OP.RESHAPE, [source, target], name, shape, options)


def _absorbed(_work: _Conversion, _node: onnx.NodeProto) -> None:
    """Leave it to the convolution before it (Relu) or to `_heads`."""


_OPERATORS: dict[str, Callable[[_Conversion, onnx.NodeProto], None]] = {
    "Conv": _conv,
    "Relu": _absorbed,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "Add": _add,
    "Transpose": _absorbed,
    "Reshape": _absorbed,
    "Sigmoid": _absorbed,
}
