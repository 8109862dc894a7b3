"""The same networks as ONNX files, for the other runtimes of `make bench-models`."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from flatgraph import OP
from onnx import helper, numpy_helper

OPSET = 13


def resized_yunet(onnx_file: bytes, width: int, height: int) -> bytes:
    """YuNet as published, for pictures of this size."""
    model = onnx.load_model_from_string(onnx_file)
    sides = model.graph.input[0].type.tensor_type.shape.dim
    sides[2].dim_value, sides[3].dim_value = height, width
    for output in model.graph.output:
        stride = int(output.name.partition("_")[2])
        output.type.tensor_type.shape.dim[1].dim_value = (width // stride) * (height // stride)
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


def embedder(model: bytes) -> bytes:
    """The rebuilt MobileFaceNet, channel-first, input `image` (1, 3, 112, 112).

    Raises:
        KeyError: it has an operator that MobileFaceNet has not.
    """
    source = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(model, 0))
    graph = source.subgraphs[0]
    constants = {
        index: np.frombuffer(bytes(source.buffers[tensor.buffer].data), np.float32).reshape(tensor.shape)
        for index, tensor in enumerate(graph.tensors)
        if tensor.type == schema.TensorType.FLOAT32 and source.buffers[tensor.buffer].data is not None
    }
    nodes, weights = [], []
    for operator in graph.operators:
        node, more = _NODES[source.operatorCodes[operator.opcodeIndex].builtinCode](operator, constants)
        nodes.append(node)
        weights += [numpy_helper.from_array(np.ascontiguousarray(v), name) for name, v in more.items()]
    image = helper.make_tensor_value_info(_name(graph.inputs[0]), onnx.TensorProto.FLOAT, [1, 3, 112, 112])
    shape = [int(side) for side in graph.tensors[graph.outputs[0]].shape]
    template = helper.make_tensor_value_info(_name(graph.outputs[0]), onnx.TensorProto.FLOAT, shape)
    made = helper.make_graph(nodes, "MobileFaceNet", [image], [template], weights)
    whole = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(whole)
    return bytes(whole.SerializeToString())


def _name(tensor: int) -> str:
    return f"t{int(tensor)}"


def _conv(operator: Any, constants: dict[int, Any]) -> tuple[Any, dict[str, Any]]:
    source, weight, bias = (int(index) for index in operator.inputs)
    depthwise = isinstance(operator.builtinOptions, schema.DepthwiseConv2DOptionsT)
    kernel = constants[weight].transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
    stride, side = operator.builtinOptions.strideH, kernel.shape[2]
    same = operator.builtinOptions.padding == schema.Padding.SAME and side > 1
    # TFLite's "same" puts the odd pixel of an even side at the end when it steps by two.
    pads = [side // 2 if stride == 1 else 0] * 2 + [side // 2] * 2 if same else [0] * 4
    node = helper.make_node(
        "Conv",
        [_name(source), _name(weight), _name(bias)],
        [_name(operator.outputs[0])],
        kernel_shape=list(kernel.shape[2:]),
        strides=[stride] * 2,
        pads=pads,
        group=kernel.shape[0] if depthwise else 1,
    )
    return node, {_name(weight): kernel, _name(bias): constants[bias]}


def _prelu(operator: Any, constants: dict[int, Any]) -> tuple[Any, dict[str, Any]]:
    source, alpha = (int(index) for index in operator.inputs)
    node = helper.make_node("PRelu", [_name(source), _name(alpha)], [_name(operator.outputs[0])])
    return node, {_name(alpha): constants[alpha].reshape(-1, 1, 1)}


def _add(operator: Any, _constants: dict[int, Any]) -> tuple[Any, dict[str, Any]]:
    return helper.make_node("Add", [_name(t) for t in operator.inputs], [_name(operator.outputs[0])]), {}


def _flatten(operator: Any, _constants: dict[int, Any]) -> tuple[Any, dict[str, Any]]:
    return helper.make_node("Flatten", [_name(operator.inputs[0])], [_name(operator.outputs[0])]), {}


_NODES = {
    OP.CONV_2D: _conv,
    OP.DEPTHWISE_CONV_2D: _conv,
    OP.PRELU: _prelu,
    OP.ADD: _add,
    OP.RESHAPE: _flatten,
}
