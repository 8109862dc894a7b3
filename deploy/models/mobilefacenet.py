"""MobileFaceNet rebuilt from its published float TFLite file.

The file has batch 2, no signature, and writes PReLU out as `relu(x) + c * (x - |x|)`, five operators
that no accelerated kernel recognises. The rebuilt graph has batch 1, one PRELU operator with
alpha = 2c in their place, and an input that takes BGR pixels as `(pixel - 128) / 128`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from flatgraph import OP, Graph, conv_options

SIDE, DIMENSIONS = 112, 192
INT8 = ("CONV_2D", "ADD", "RESHAPE")
"""All but PRELU and the depthwise convolutions between them (README.md)."""
_HALF_STEP = 0.5 / 128
"""The published network takes (pixel - 127.5) / 128: half a step more than the rebuilt one."""


@dataclass
class _Rebuild:
    source: Any
    model: Any
    graph: Graph
    maker: dict[int, Any]
    """Operator that makes each tensor of the source."""
    index: dict[int, int] = field(default_factory=dict)
    """Tensor of the rebuilt graph for each tensor of the source that is kept."""

    def code(self, operator: Any) -> int:
        entry = self.model.operatorCodes[operator.opcodeIndex]
        return int(max(entry.builtinCode, entry.deprecatedBuiltinCode))

    def constant(self, tensor: int) -> npt.NDArray[np.float32] | None:
        entry = self.source.tensors[tensor]
        data = self.model.buffers[entry.buffer].data
        if data is None or len(data) == 0:
            return None
        return np.frombuffer(bytes(data), dtype=np.float32).reshape(entry.shape)

    def name(self, tensor: int) -> str:
        return str(self.source.tensors[tensor].name.decode())

    def shape(self, tensor: int) -> tuple[int, ...]:
        return (1, *(int(side) for side in self.source.tensors[tensor].shape[1:]))


def rebuild(published: bytes) -> bytes:
    """Return the TFLite model: `image` (1, 112, 112, 3) float32 to `template` (1, 192) float32.

    Raises:
        ValueError: the file holds an operator or a pattern that MobileFaceNet has not.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(published, 0))
    source = model.subgraphs[0]
    maker = {int(tensor): operator for operator in source.operators for tensor in operator.outputs}
    work = _Rebuild(source, model, Graph("MobileFaceNet, batch 1, PRELU"), maker)
    image = work.graph.tensor("image", (1, SIDE, SIDE, 3))
    work.index[int(source.inputs[0])] = image
    for operator in source.operators:
        if work.code(operator) not in _OPERATORS:
            raise ValueError(f"operator {work.code(operator)} is not part of MobileFaceNet")
        _OPERATORS[work.code(operator)](work, operator)
    return work.graph.serialise({"image": image}, {"template": work.index[int(source.outputs[0])]})


def _conv(work: _Rebuild, operator: Any) -> None:
    tensor, weight_index, bias_index = (int(entry) for entry in operator.inputs)
    weight, bias = work.constant(weight_index), work.constant(bias_index)
    if weight is None or bias is None:
        raise ValueError("a convolution of MobileFaceNet has constant weights")
    if tensor == int(work.source.inputs[0]):
        # RGB becomes BGR by turning the kernel's input channels round; the half step goes to the bias.
        weight, bias = weight[..., ::-1], bias + weight.sum(axis=(1, 2, 3)) * np.float32(_HALF_STEP)
    options, output = operator.builtinOptions, int(operator.outputs[0])
    same = options.padding == schema.Padding.SAME and weight.shape[1] > 1
    depthwise = work.code(operator) == OP.DEPTHWISE_CONV_2D
    work.index[output] = work.graph.add(
        OP.DEPTHWISE_CONV_2D if depthwise else OP.CONV_2D,
        [
            work.index[tensor],
            work.graph.constant(work.name(weight_index), weight),
            work.graph.constant(work.name(bias_index), bias),
        ],
        work.name(output),
        work.shape(output),
        conv_options(depthwise=depthwise, stride=options.strideH, same=same),
    )


def _add(work: _Rebuild, operator: Any) -> None:
    """Keep a residual addition; turn the last operator of a written-out PReLU into PRELU."""
    tensors, output = [int(entry) for entry in operator.inputs], int(operator.outputs[0])
    products = [work.maker[t] for t in tensors if t in work.maker and work.code(work.maker[t]) == OP.MUL]
    if products:
        before, slope = _prelu_parts(work, products[0])
        alpha = work.graph.constant(f"{work.name(output)}/alpha", (2 * slope).reshape(1, 1, -1))
        inputs, code, options = [work.index[before], alpha], OP.PRELU, None
    else:
        inputs, code, options = [work.index[t] for t in tensors], OP.ADD, schema.AddOptionsT()
    work.index[output] = work.graph.add(code, inputs, work.name(output), work.shape(output), options)


def _prelu_parts(work: _Rebuild, product: Any) -> tuple[int, npt.NDArray[np.float32]]:
    """Return x and c of `c * (x - |x|)`."""
    slope, difference = None, None
    for tensor in (int(entry) for entry in product.inputs):
        values = work.constant(tensor)
        if values is None:
            difference = work.maker.get(tensor)
        else:
            slope = values
    if slope is None or difference is None or work.code(difference) != OP.SUB:
        raise ValueError("a multiplication of MobileFaceNet is part of a PReLU")
    before, magnitude = (int(entry) for entry in difference.inputs)
    if work.code(work.maker[magnitude]) != OP.ABS or int(work.maker[magnitude].inputs[0]) != before:
        raise ValueError("a subtraction of MobileFaceNet is part of a PReLU")
    return before, slope


def _flatten(work: _Rebuild, operator: Any) -> None:
    shape = (1, DIMENSIONS)
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    target = work.graph.constant("template_shape", np.array(shape, dtype=np.int32))
    inputs = [work.index[int(operator.inputs[0])], target]
    work.index[int(operator.outputs[0])] = work.graph.add(OP.RESHAPE, inputs, "template", shape, options)


def _absorbed(_work: _Rebuild, _operator: Any) -> None:
    """Leave an inner operator of a written-out PReLU to the addition that ends it."""


_OPERATORS: dict[int, Callable[[_Rebuild, Any], None]] = {
    OP.CONV_2D: _conv,
    OP.DEPTHWISE_CONV_2D: _conv,
    OP.ADD: _add,
    OP.RESHAPE: _flatten,
    OP.RELU: _absorbed,
    OP.ABS: _absorbed,
    OP.SUB: _absorbed,
    OP.MUL: _absorbed,
}
