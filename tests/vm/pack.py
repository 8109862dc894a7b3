"""A model pack that an emulated processor can run: the same detectors for smaller pictures, a tiny embedder.

A frame takes an emulated core more than six seconds with the installed pack; the daemon forgets a face that
it has not seen for 0.7 s, as it must. So the unit is given another pack by the product's own means
(`edgeagent models import`) and an authority that names its hash. Its embedder is a mean over a grid: it knows
nobody, and takes everybody for the one on the list. What is tried is what becomes of an alert, not who it is
about.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from edgeagent.system.modelpack import ModelPack, load_pack
from tests import bench_unit
from tests.tiny_onnx import average_pool
from tests.vm.root import CACHE, LIMIT_S, REPOSITORY

BUILDER = Path(__file__).with_name("small_detectors.py")
PYTHON = REPOSITORY / ".venv-models/bin/python"
SIDE = 96
DECLARATION = """\
name = "tiny-grid"
file = "tiny.onnx"
licence = "Apache-2.0"
use = "any"
project = "the tests of edgeagent"
source = "tests/tiny_onnx.py"
size = 96
dimension = 108
channels = "RGB"
mean = [0.0, 0.0, 0.0]
scale = [0.01, 0.01, 0.01]
landmarks = [[32.0, 40.0], [64.0, 40.0], [48.0, 55.0], [36.0, 72.0], [60.0, 72.0]]
"""


def small_pack() -> Path:
    """The pack's folder in the cache; built if it is not there (half a minute).

    Raises:
        CalledProcessError: it cannot be built.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(BUILDER.read_bytes() + DECLARATION.encode())
    for file in sorted((REPOSITORY / "deploy/models").glob("*.*")):
        key.update(file.read_bytes())
    folder = CACHE / f"pack-{key.hexdigest()[:12]}"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in CACHE.glob("pack-*"):
                shutil.rmtree(old)
            _build(folder)
    return folder


def _build(folder: Path) -> None:
    work = folder.with_suffix(".part")
    (work / "base").mkdir(parents=True)
    _run(str(PYTHON), str(BUILDER), str(work / "base"))
    (work / "tiny.onnx").write_bytes(average_pool(SIDE))
    (work / "tiny.toml").write_text(DECLARATION)
    options = ["--base", str(work / "base"), "--out", str(work / "pack")]
    _run(sys.executable, "-m", "edgeagent", "models", "import", str(work / "tiny.toml"), *options)
    (work / "pack").rename(folder)
    shutil.rmtree(work)


def _run(*command: str) -> None:
    subprocess.run(
        command, check=True, timeout=LIMIT_S, stdin=subprocess.DEVNULL, capture_output=True, cwd=REPOSITORY
    )


def use(folder: Path) -> ModelPack:
    """Have the bench's officers sign for this pack, in this process."""
    pack = load_pack(folder)
    bench_unit.model_pack.cache_clear()
    bench_unit.model_pack = lambda: pack  # type: ignore[assignment]
    return pack
