"""From a chip to a template."""

from __future__ import annotations

import numpy as np

from edgeagent.errors import ModelError
from edgeagent.vision.align import STANDARD, Layout
from edgeagent.vision.runtime import AnyNetwork
from edgeagent.vision.types import Chip, Float32Array, Template

OUTPUT = "template"


class Embedder:
    """Runs the embedding network."""

    def __init__(self, network: AnyNetwork, layout: Layout = STANDARD) -> None:
        """Take over `network`; its one output is `template` (1, d), its input a chip of `layout`.

        Raises:
            ModelError: the network has other outputs or takes another size.
        """
        shape = network.spec.outputs.get(OUTPUT)
        if shape is None or len(shape) != 2 or shape[0] != 1:
            raise ModelError(
                f"expected one output {OUTPUT!r} of shape (1, d), got {dict(network.spec.outputs)}",
                where=network.spec.name,
                next_step="Install a model pack whose embedder fits.",
            )
        if (network.spec.height, network.spec.width) != (layout.size, layout.size):
            raise ModelError(
                f"takes {network.spec.width}×{network.spec.height} pixels, its chips are {layout.size} wide",
                where=network.spec.name,
                next_step="Install a model pack whose embedder fits.",
            )
        self._network = network
        self.layout = layout
        self.dimensions = shape[1]
        self._holds_a_face = False

    def embed(self, chip: Chip, out: Float32Array | None = None) -> Template:
        """Return the template of a chip: the mean direction of the chip and of its mirror image.

        Args:
            chip: aligned face.
            out: (d,) float32 array to write the template to; a new one if absent.

        Raises:
            ModelError: the network gave no direction at all, which a sound one never does.
        """
        self._holds_a_face = True
        vector = np.empty(self.dimensions, np.float32) if out is None else out
        vector.fill(0)
        for pixels in (chip.pixels, chip.pixels[:, ::-1]):
            raw = self._network.run(pixels)[OUTPUT][0]
            raw /= self._length(raw)
            vector += raw
        vector /= self._length(vector)
        return Template(vector)

    def _length(self, vector: Float32Array) -> np.float32:
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length < 1e-6:
            raise ModelError(
                "the embedder gave an empty template",
                where=self._network.spec.name,
                next_step="Run the self-test; reinstall the model pack if it fails.",
            )
        return np.float32(length)

    @property
    def wiped(self) -> bool:
        """Whether the network's input and output are zeros, as read back (R1)."""
        return self._network.wiped

    def wipe(self) -> None:
        """Overwrite what is left of the last chip and template, if there was one since the last wipe (R1).

        Measured in process memory: wiping inputs and outputs leaves the template behind in its int8 form,
        so this runs the network on a blank picture, once for all faces of a frame.
        """
        if self._holds_a_face:
            self.scrub()

    def scrub(self) -> None:
        """As `wipe`, whether or not there was a face."""
        self._network.scrub()
        self._holds_a_face = False
