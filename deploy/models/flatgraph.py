"""A TFLite graph under construction: tensors and operators in, flatbuffer bytes out.

Only what the two networks of the pack need: one subgraph, float32 activations, batch 1, one signature.
The same calls in the same order give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Shape = tuple[int, ...]
OP = schema.BuiltinOperator
_FLOAT32, _INT32 = schema.TensorType.FLOAT32, schema.TensorType.INT32
_OPTIONS = {
    OP.CONV_2D: schema.BuiltinOptions.Conv2DOptions,
    OP.DEPTHWISE_CONV_2D: schema.BuiltinOptions.DepthwiseConv2DOptions,
    OP.MAX_POOL_2D: schema.BuiltinOptions.Pool2DOptions,
    OP.RESIZE_NEAREST_NEIGHBOR: schema.BuiltinOptions.ResizeNearestNeighborOptions,
    OP.ADD: schema.BuiltinOptions.AddOptions,
    OP.RESHAPE: schema.BuiltinOptions.ReshapeOptions,
    OP.PAD: schema.BuiltinOptions.PadOptions,
    OP.SLICE: schema.BuiltinOptions.SliceOptions,
}


@dataclass
class Graph:
    """Collects tensors, constants and operators of one network.

    Attributes:
        description: text stored in the file.
        shapes: shape of each tensor by index.
    """

    description: str
    shapes: list[Shape] = field(default_factory=list)
    _tensors: list[Any] = field(default_factory=list)
    _operators: list[Any] = field(default_factory=list)
    _codes: list[int] = field(default_factory=list)
    _buffers: list[Any] = field(default_factory=lambda: [schema.BufferT()])

    def tensor(self, name: str, shape: Shape, kind: int = _FLOAT32, buffer: int = 0) -> int:
        """Add a tensor and return its index; `buffer` 0 means an activation."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, buffer
        self._tensors.append(tensor)
        self.shapes.append(shape)
        return len(self._tensors) - 1

    def constant(self, name: str, values: npt.NDArray[Any]) -> int:
        """Add a float32 or int32 constant and return its tensor index."""
        kind = {"float32": _FLOAT32, "int32": _INT32}[values.dtype.name]
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.uint8)
        self._buffers.append(buffer)
        return self.tensor(name, values.shape, kind, len(self._buffers) - 1)

    def add(self, code: int, inputs: list[int], name: str, shape: Shape, options: Any = None) -> int:
        """Add an operator with one output of `shape` and return that output's index."""
        if code not in self._codes:
            self._codes.append(code)
        output = self.tensor(name, shape)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.index(code)
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            operator.builtinOptionsType, operator.builtinOptions = _OPTIONS[code], options
        self._operators.append(operator)
        return output

    def serialise(self, inputs: dict[str, int], outputs: dict[str, int]) -> bytes:
        """Return the model file, with one signature `serving_default` of the given names."""
        subgraph = schema.SubGraphT()
        subgraph.name = "main"
        subgraph.tensors, subgraph.operators = self._tensors, self._operators
        subgraph.inputs, subgraph.outputs = list(inputs.values()), list(outputs.values())
        model = schema.ModelT()
        model.version, model.description = 3, self.description
        model.operatorCodes = [_operator_code(code) for code in self._codes]
        model.subgraphs, model.buffers = [subgraph], self._buffers
        model.signatureDefs = [_signature(inputs, outputs)]
        builder = flatbuffers.Builder(1 << 22)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _operator_code(code: int) -> Any:
    entry = schema.OperatorCodeT()
    # Files keep the code twice: readers older than the 128th operator look at the deprecated byte.
    entry.builtinCode, entry.deprecatedBuiltinCode, entry.version = code, min(code, 127), 1
    return entry


def _signature(inputs: dict[str, int], outputs: dict[str, int]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs = [_named(name, index) for name, index in inputs.items()]
    signature.outputs = [_named(name, index) for name, index in outputs.items()]
    return signature


def _named(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry


def conv_options(*, depthwise: bool, stride: int, same: bool, relu: bool = False) -> Any:
    """Return the options of a convolution; `same` pads to keep the size, otherwise no padding."""
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideW = options.strideH = stride
    options.dilationWFactor = options.dilationHFactor = 1
    options.fusedActivationFunction = (
        schema.ActivationFunctionType.RELU if relu else schema.ActivationFunctionType.NONE
    )
    if depthwise:
        options.depthMultiplier = 1
    return options
