"""One neural network, run by LiteRT on the CPU.

LiteRT is tried first; `tflite_runtime`, which some boards still carry, second. Both speak to the same
interpreter, so everything above this module is the same on either.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from edgeagent.errors import ModelError
from edgeagent.vision.memory import BiometricMemory, room
from edgeagent.vision.types import Float32Array, UInt8Image

_RUNTIMES = (("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"))
"""Import name and distribution name of each runtime, in order of preference."""

_DELEGATE = "DELEGATE"

PerChannel = float | tuple[float, float, float]
Channels = Literal["BGR", "RGB"]


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What a network must look like to be used.

    Attributes:
        name: file or role, for messages.
        height, width: size of the picture it takes, in pixels.
        mean, scale: the network takes `(pixel - mean) * scale`; see `Network` for int8 inputs. Each may also
            be three, one for each channel in the order of `channels`.
        outputs: shape of each named output; where there is only one, the file may call it otherwise.
        channels: in which order the network takes colours; a picture is always handed over as BGR.
    """

    name: str
    height: int
    width: int
    mean: PerChannel
    scale: PerChannel
    outputs: Mapping[str, tuple[int, ...]]
    channels: Channels = "BGR"


class AnyNetwork(Protocol):
    """What every runtime offers; `Network` and `vision.onnx.OnnxNetwork` say what it means there."""

    spec: NetworkSpec
    runtime: str

    def run(self, pixels: UInt8Image) -> Mapping[str, Float32Array]:
        """Run the network on one picture (height, width, 3) uint8 BGR."""

    def wipe(self) -> None:
        """Overwrite input and outputs (R1)."""

    @property
    def wiped(self) -> bool:
        """Whether `wipe` left zeros, as read back."""

    def scrub(self) -> None:
        """As `wipe`, and replace what lies between by running a blank picture (R1)."""


def of_spec(spec: NetworkSpec, pixels: UInt8Image) -> None:
    """Refuse a picture of another shape or type than the network takes.

    Raises:
        ValueError: naming both.
    """
    expected = (spec.height, spec.width, 3)
    if pixels.shape != expected or pixels.dtype != np.uint8:
        raise ValueError(f"{spec.name}: expected {expected} uint8, got {pixels.shape} {pixels.dtype}")


def in_order(spec: NetworkSpec, pixels: UInt8Image) -> UInt8Image:
    """A view of a BGR picture with its channels in the network's order."""
    return pixels if spec.channels == "BGR" else pixels[..., ::-1]


def normalised(spec: NetworkSpec, pixels: UInt8Image, out: Float32Array) -> None:
    """Write `(pixel - mean) * scale` to `out`, (height, width, 3) float32 in the network's channel order."""
    np.copyto(out, in_order(spec, pixels))  # R1: arithmetic on two types would go through numpy's own memory
    np.subtract(out, np.asarray(spec.mean, np.float32), out=out)
    np.multiply(out, np.asarray(spec.scale, np.float32), out=out)


class Network:
    """A loaded network with one picture as input and named float32 outputs.

    An int8 input is filled with `pixel - 128`, one operation without rounding; the tensor's own
    quantisation must then say the same as `mean` and `scale`. A float32 input is filled with
    `(pixel - mean) * scale`.

    What can be overwritten from Python (R1): the input tensor, the output tensors and this object's
    copies of the outputs; `wipe` does that. Activations between layers lie in memory that only the
    runtime can reach; `scrub` replaces them with those of a blank picture by running it.
    """

    def __init__(self, model: bytes, spec: NetworkSpec, *, num_threads: int) -> None:
        """Load `model`, the bytes of a .tflite file.

        Raises:
            ModelError: no runtime is installed, the bytes are no model, or it does not fit `spec`.
        """
        module, self.runtime = _import_runtime()
        self.spec = spec
        try:
            self._interpreter = module.Interpreter(model_content=model, num_threads=num_threads)
            self._interpreter.allocate_tensors()
            inputs, outputs = _details(self._interpreter)
        except (ValueError, RuntimeError) as error:
            raise _unusable(spec, "the runtime cannot load this model") from error
        self._input = _checked_input(inputs, spec)
        self._output_tensors = _checked_outputs(outputs, spec)
        self._is_int8 = self._tensor(self._input).dtype == np.int8
        self._memory = BiometricMemory(room(*((shape, np.float32) for shape in spec.outputs.values())))
        self._results = {name: self._memory.take(shape, np.float32) for name, shape in spec.outputs.items()}

    def run(self, pixels: UInt8Image) -> Mapping[str, Float32Array]:
        """Run the network on one picture (height, width, 3) uint8 BGR.

        Returns:
            Outputs by name. The arrays belong to this object and are overwritten by the next `run`.

        Raises:
            ValueError: the picture has another shape or type than the network takes.
        """
        of_spec(self.spec, pixels)
        self._fill_input(pixels)
        self._interpreter.invoke()
        for name, index in self._output_tensors.items():
            np.copyto(self._results[name], self._tensor(index))
        return self._results

    def wipe(self) -> None:
        """Overwrite the input, the outputs and this object's copies of them with zeros (R1)."""
        for index in (self._input, *self._output_tensors.values()):
            self._tensor(index).fill(0)
        self._memory.wipe()

    @property
    def wiped(self) -> bool:
        """Whether `wipe` left zeros everywhere, as read back."""
        tensors = (self._tensor(index) for index in (self._input, *self._output_tensors.values()))
        return self._memory.wiped and not any(tensor.any() for tensor in tensors)

    def scrub(self) -> None:
        """Run a blank picture, so that the layers between hold nobody's face, then wipe (R1).

        Costs one inference.
        """
        self._tensor(self._input).fill(0)
        self._interpreter.invoke()
        self.wipe()

    def delegated_ops(self) -> int:
        """Return how many of the model's operators XNNPACK has taken over.

        The runtime replaces each run of operators by a node named DELEGATE and still lists the
        replaced ones. They are found by walking from such a node's outputs back to its inputs.
        """
        nodes = self._interpreter._get_ops_details()
        makers = {int(out): node for node in nodes if node["op_name"] != _DELEGATE for out in node["outputs"]}
        taken: set[int] = set()
        for delegate in (node for node in nodes if node["op_name"] == _DELEGATE):
            given = {int(tensor) for tensor in delegate["inputs"]}
            pending = [int(tensor) for tensor in delegate["outputs"]]
            while pending:
                node = makers.get(pending.pop())
                if node is not None and node["index"] not in taken:
                    taken.add(node["index"])
                    pending += [int(tensor) for tensor in node["inputs"] if int(tensor) not in given]
        return len(taken)

    def _fill_input(self, pixels: UInt8Image) -> None:
        target = self._tensor(self._input)[0]
        if self._is_int8:
            octets = target.view(np.uint8)
            # Copied first: of a mirrored picture numpy makes a copy of its own, which nobody overwrites (R1).
            np.copyto(octets, in_order(self.spec, pixels))
            np.bitwise_xor(octets, np.uint8(0x80), out=octets)
        else:
            normalised(self.spec, pixels, target)

    def _tensor(self, index: int) -> Any:
        """Return a view of the runtime's memory; never to be kept over an invocation."""
        return self._interpreter.tensor(index)()


def _import_runtime() -> tuple[Any, str]:
    for module, distribution in _RUNTIMES:
        try:
            interpreter = importlib.import_module(f"{module}.interpreter")
        except ImportError:
            continue
        return interpreter, f"{distribution} {importlib.metadata.version(distribution)}"
    raise ModelError(
        "no neural network runtime is installed",
        where="ai_edge_litert",
        next_step="Install ai-edge-litert, or tflite-runtime on boards without it.",
    )


def _unusable(spec: NetworkSpec, what: str) -> ModelError:
    return ModelError(
        what, where=spec.name, next_step="Install a model pack made for this version of edgeagent."
    )


def _details(interpreter: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Inputs and outputs by name: those of the signature, or where the file has none, of the tensors."""
    if interpreter.get_signature_list():
        signature = interpreter.get_signature_runner()
        return signature.get_input_details(), signature.get_output_details()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    return {entry["name"]: entry for entry in inputs}, {entry["name"]: entry for entry in outputs}


def _checked_input(details: Mapping[str, Any], spec: NetworkSpec) -> int:
    expected = (1, spec.height, spec.width, 3)
    shapes = [tuple(int(side) for side in entry["shape"]) for entry in details.values()]
    if shapes != [expected]:
        raise _unusable(spec, f"expected one input {expected}, got {shapes}")
    (entry,) = details.values()
    if entry["dtype"] == np.int8:
        # (pixel - mean) * scale must come out as the stored integer pixel - 128.
        scale, zero_point = entry["quantization"]
        scales, means = np.ravel(spec.scale), np.ravel(spec.mean)
        if not np.allclose(scales, scale, rtol=1e-4) or (np.round(means) - 128 != zero_point).any():
            raise _unusable(spec, f"input quantisation {scale:g}, {zero_point} does not fit mean and scale")
    elif entry["dtype"] != np.float32:
        raise _unusable(spec, f"expected an int8 or float32 input, got {np.dtype(entry['dtype'])}")
    return int(entry["index"])


def _checked_outputs(details: Mapping[str, Any], spec: NetworkSpec) -> dict[str, int]:
    if len(details) == len(spec.outputs) == 1:
        # Nothing to take one for another, so its name does not matter.
        details = dict(zip(spec.outputs, details.values(), strict=True))
    actual = {name: tuple(int(side) for side in entry["shape"]) for name, entry in details.items()}
    if actual != dict(spec.outputs):
        raise _unusable(spec, f"expected outputs {dict(spec.outputs)}, got {actual}")
    wrong = [name for name, entry in details.items() if entry["dtype"] != np.float32]
    if wrong:
        raise _unusable(spec, f"expected float32 outputs, but {', '.join(wrong)} differ")
    return {name: int(entry["index"]) for name, entry in details.items()}
