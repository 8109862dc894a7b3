"""From a model pack to a detector and an embedder that are ready to run."""

from __future__ import annotations

from edgeagent.system.modelpack import ONNX, ModelEntry, ModelPack, Scene
from edgeagent.vision.detect import Detector
from edgeagent.vision.embed import Embedder
from edgeagent.vision.onnx import OnnxNetwork
from edgeagent.vision.runtime import AnyNetwork, Network, NetworkSpec

SCORE_THRESHOLD = 0.6
OVERLAP_THRESHOLD = 0.3
MAX_FACES = 60
THREADS = 2


def network_of(pack: ModelPack, role: str, scene: Scene = "near") -> Network:
    """The LiteRT network of a role, a detector's for a scene.

    Raises:
        ModelError: it cannot be loaded.
    """
    entry = pack.model(role, scene)
    return Network(pack.files[entry.file], _spec(entry), num_threads=THREADS)


def embedder_network(pack: ModelPack) -> AnyNetwork:
    """The embedder's network, by LiteRT or, from an ONNX file, by OpenCV.

    Raises:
        ModelError: it cannot be loaded.
    """
    entry = pack.model("embedder")
    if entry.file.endswith(ONNX):
        return OnnxNetwork(pack.files[entry.file], _spec(entry))
    return network_of(pack, "embedder")


def _spec(entry: ModelEntry) -> NetworkSpec:
    return NetworkSpec(
        entry.file, entry.height, entry.width, entry.mean, entry.scale, entry.outputs, entry.channels
    )


def detector_of(pack: ModelPack, scene: Scene = "near") -> Detector:
    """The pack's detector for a scene: `far` finds smaller faces and takes about twice as long."""
    return Detector(
        network_of(pack, "detector", scene),
        score_threshold=SCORE_THRESHOLD,
        overlap_threshold=OVERLAP_THRESHOLD,
        max_faces=MAX_FACES,
    )


def embedder_of(pack: ModelPack) -> Embedder:
    """The pack's embedder."""
    return Embedder(embedder_network(pack), pack.model("embedder").layout)
