"""One neural network in an ONNX file, run by OpenCV on the CPU, behind the interface of `runtime.Network`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from edgeagent.errors import ModelError
from edgeagent.vision.memory import BiometricMemory, room
from edgeagent.vision.runtime import NetworkSpec, normalised, of_spec
from edgeagent.vision.types import Float32Array, UInt8Image


class OnnxNetwork:
    """A loaded network with one picture (1, 3, height, width) as input and one float32 output.

    The file's own name of the output does not matter; `spec` says what it is called here.

    What can be overwritten from Python (R1): this object's copy of the input, what OpenCV hands out of the
    output, and this object's copy of that. OpenCV's own copy of the input and all layers between lie in
    memory that only OpenCV can reach, and `wiped` cannot read it back. `scrub` replaces them by running a
    blank picture; so after a `wipe` alone the last face's activations are still there. Scratch memory that
    OpenCV takes and frees within a run is not reached by anything.
    """

    def __init__(self, model: bytes, spec: NetworkSpec) -> None:
        """Load `model`, the bytes of an .onnx file.

        Raises:
            ModelError: the bytes are no model that OpenCV can run, or it does not fit `spec`.
        """
        self.spec = spec
        self.runtime = f"opencv {cv2.__version__}"
        if len(spec.outputs) != 1:
            raise unusable(spec, f"expected one output, got {len(spec.outputs)}")
        ((self._name, shape),) = spec.outputs.items()
        blob = (1, 3, spec.height, spec.width)
        self._memory = BiometricMemory(room((blob, np.float32), (shape, np.float32)))
        self._blob: Float32Array = self._memory.take(blob, np.float32)
        self._results = {self._name: self._memory.take(shape, np.float32)}
        self.wipe()
        try:
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
            given = self._forward()
        except cv2.error as error:
            raise unusable(spec, "OpenCV cannot load or run this model") from error
        if given.shape != shape or given.dtype != np.float32:
            raise unusable(spec, f"expected an output {shape} float32, got {given.shape} {given.dtype}")

    def run(self, pixels: UInt8Image) -> Mapping[str, Float32Array]:
        """Run the network on one picture (height, width, 3) uint8 BGR.

        Returns:
            The output by name. The array belongs to this object and is overwritten by the next `run`.

        Raises:
            ValueError: the picture has another shape or type than the network takes.
        """
        of_spec(self.spec, pixels)
        normalised(self.spec, pixels, self._blob[0].transpose(1, 2, 0))
        given = self._forward()
        np.copyto(self._results[self._name], given)
        given.fill(0)  # R1
        return self._results

    def wipe(self) -> None:
        """Overwrite this object's copies of the input and the output with zeros (R1)."""
        self._memory.wipe()

    @property
    def wiped(self) -> bool:
        """Whether `wipe` left zeros in this object's memory, as read back."""
        return self._memory.wiped

    def scrub(self) -> None:
        """Run a blank picture, so that OpenCV's memory holds nobody's face, then wipe (R1)."""
        self._memory.wipe()
        self._forward().fill(0)

    def _forward(self) -> Float32Array:
        self._net.setInput(self._blob)
        given: Any = self._net.forward()
        return np.asarray(given)


def unusable(spec: NetworkSpec, what: str) -> ModelError:
    """The error of a network that cannot be used."""
    return ModelError(
        what, where=spec.name, next_step="Look at the model's input and output, and declare them as they are."
    )
