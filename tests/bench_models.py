"""How fast the pack's networks are beside other runtimes: `make bench-models`. No test; it prints figures.

One thread each, everything in one run, in another order each round: on a shared machine only what was
measured side by side can be compared. Every runtime starts from the same picture (uint8, BGR) and ends with
the outputs, so each pays for filling its own input.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "deploy" / "models")]

import assemble  # noqa: E402
import describe  # noqa: E402
import toonnx  # noqa: E402
from fetch import load_sources  # noqa: E402

from edgeagent.system.modelpack import SCENES  # noqa: E402
from edgeagent.vision.runtime import Network  # noqa: E402
from edgeagent.vision.types import UInt8Image  # noqa: E402

Run = Callable[[], Any]
REFERENCE = "OpenCV float"
COLOURS = {"our": "#0b6e4f", "OpenCV": "#9a9a9a", "ONNX Runtime": "#c8a24a"}
CALIBRATION_PICTURES = 4
"""For the other runtimes' int8: its ranges matter for accuracy, which nobody looks at here, not for speed."""


def picture(width: int, height: int) -> UInt8Image:
    """Any picture will do: no network of the pack is faster or slower for what it sees."""
    return np.random.default_rng(7).integers(0, 256, (height, width, 3)).astype(np.uint8)


def opencv(model: bytes, seen: UInt8Image, mean: float, scale: float) -> Run:
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
    names = net.getUnconnectedOutLayersNames()

    def run() -> Any:
        net.setInput(cv2.dnn.blobFromImage(seen, scale, mean=(mean,) * 3))
        return net.forward(names)

    return run


def planes(seen: UInt8Image, mean: float, scale: float) -> npt.NDArray[np.float32]:
    """(1, 3, height, width) as the ONNX files take it."""
    return np.asarray(cv2.dnn.blobFromImage(seen, scale, mean=(mean,) * 3), np.float32)


def onnxruntime(model: bytes, seen: UInt8Image, mean: float, scale: float) -> Run:
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: planes(seen, mean, scale)})


def int8_onnx(model: bytes, seen: UInt8Image, mean: float, scale: float) -> bytes:
    """The ONNX file in int8, by ONNX Runtime's own tool, per channel."""
    tool = importlib.import_module("onnxruntime.quantization")
    onnx = importlib.import_module("onnx")
    name = onnx.load_model_from_string(model).graph.input[0].name
    values = [{name: planes(seen // (n + 1), mean, scale)} for n in range(CALIBRATION_PICTURES)]

    class Reader(tool.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.left = iter(values)

        def get_next(self) -> Any:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as temporary:
        before, ready, after = (Path(temporary) / f"{part}.onnx" for part in ("before", "ready", "after"))
        before.write_bytes(
            onnx.version_converter.convert_version(
                onnx.load_model_from_string(model), toonnx.OPSET
            ).SerializeToString()
        )
        importlib.import_module("onnxruntime.quantization.shape_inference").quant_pre_process(
            before, ready, skip_symbolic_shape=True
        )
        tool.quantize_static(ready, after, Reader(), per_channel=True)
        return after.read_bytes()


def ours(network: Network, seen: UInt8Image) -> Run:
    return lambda: network.run(seen)


def runners(cache: Path) -> Iterator[tuple[str, dict[str, Run]]]:
    """Name of each network and how to run it in each runtime."""
    given = assemble.published(load_sources(), cache)
    floats, ranges = assemble.float_models(given), assemble.saved_ranges()
    made = {
        "our float": assemble.float_inside(floats, ranges),
        "our pack": assemble.pack_models(floats, ranges),
        "our int8 backbone": assemble.pack_models(floats, ranges, whole_backbone=True),
    }
    for scene in SCENES:
        width, height = describe.SCENES[scene]
        seen, file = picture(width, height), describe.detector_file(scene)
        runs = {name: ours(describe.detector_network(f[file], scene), seen) for name, f in made.items()}
        yield (
            f"detector {scene}",
            runs | others(toonnx.resized_yunet(given["yunet"], width, height), seen, 0, 1),
        )
    seen, file = picture(112, 112), describe.EMBEDDER_FILE
    names = ("our float", "our pack")
    runs = {name: ours(describe.embedder_network(made[name][file]), seen) for name in names}
    mean, scale = describe.EMBEDDER_MEAN, describe.EMBEDDER_SCALE
    yield "embedder", runs | others(toonnx.embedder(floats[file]), seen, mean, scale)


def others(model: bytes, seen: UInt8Image, mean: float, scale: float) -> dict[str, Run]:
    """The same network in the other runtimes; says why where one cannot run it."""
    small = int8_onnx(model, seen, mean, scale)
    wanted = {
        REFERENCE: (opencv, model),
        "OpenCV int8": (opencv, small),
        "ONNX Runtime float": (onnxruntime, model),
        "ONNX Runtime int8": (onnxruntime, small),
    }
    runs = {}
    for name, (make, file) in wanted.items():
        try:
            runs[name] = make(file, seen, mean, scale)
            runs[name]()
        except (cv2.error, RuntimeError) as cause:
            runs.pop(name, None)
            print(f"{name} cannot run it: {str(cause).strip().splitlines()[0][:150]}")
    return runs


def measure(runs: dict[str, Run], rounds: int) -> dict[str, npt.NDArray[np.float64]]:
    """Milliseconds of each, by round."""
    rng, names = np.random.default_rng(0), list(runs)
    taken = {name: np.zeros(rounds) for name in names}
    for _ in range(5):
        for name in names:
            runs[name]()
    for number in range(rounds):
        for place in rng.permutation(len(names)):
            started = time.perf_counter()
            runs[names[place]]()
            taken[names[place]][number] = (time.perf_counter() - started) * 1000
    return taken


def summary(taken: dict[str, npt.NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """p50 and p95, and how many times faster than OpenCV's float: median of the rounds' ratios, 5 to 95 %."""
    result = {}
    for name, values in taken.items():
        low, middle, high = np.percentile(taken[REFERENCE] / values, [5, 50, 95])
        result[name] = {
            "p50_ms": float(np.median(values)),
            "p95_ms": float(np.percentile(values, 95)),
            "times_faster": float(middle),
            "times_faster_p5": float(low),
            "times_faster_p95": float(high),
        }
    return result


def plot(results: dict[str, dict[str, dict[str, float]]], file: Path) -> None:
    """Draw p50 as bars and p95 as marks, one panel a network."""
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    figure, panels = pyplot.subplots(len(results), 1, figsize=(8, 2.6 * len(results)), layout="constrained")
    for panel, (network, rows) in zip(panels, results.items(), strict=True):
        for place, (name, row) in enumerate(reversed(rows.items())):
            colour = next(colour for start, colour in COLOURS.items() if name.startswith(start))
            panel.barh(place, row["p50_ms"], color=colour)
            panel.plot([row["p95_ms"]] * 2, [place - 0.35, place + 0.35], color="black")
            text = f" {row['p50_ms']:.1f} ms, {row['times_faster']:.1f}×"
            panel.text(max(row["p50_ms"], row["p95_ms"]), place, text, va="center")
        panel.set_yticks(range(len(rows)), list(reversed(rows)))
        panel.set_xlim(0, 1.35 * max(row["p95_ms"] for row in rows.values()))
        panel.set_title(network, loc="left")
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel(f"ms on one thread; mark: p95; ×: times faster than {REFERENCE}")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--cache", type=Path, help="keep downloaded packages here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, default=ROOT / "build" / "bench-models.png")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        for network, runs in runners(options.cache or Path(temporary)):
            results[network] = summary(measure(runs, options.rounds))
            print(f"{network}: {options.rounds} rounds, one thread, {platform.machine()}")
            for name, row in results[network].items():
                spread = f"{row['times_faster_p5']:.2f} to {row['times_faster_p95']:.2f}"
                faster = f"{row['times_faster']:.2f} ({spread}) times faster"
                print(
                    f"  {name:19} p50 {row['p50_ms']:6.2f} ms  p95 {row['p95_ms']:6.2f} ms  {faster}",
                    flush=True,
                )
    plot(results, options.plot)
    print(f"picture: {options.plot}")
    if options.json:
        options.json.write_text(
            json.dumps({"machine": platform.machine(), "networks": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
