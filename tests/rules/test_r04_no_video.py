"""R4: no video is recorded. Nothing in the program could write one, and a run writes no file at all."""

from __future__ import annotations

import ast
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeagent.demo.scene import ENROLLED, write_street

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "edgeagent"
MODULES = sorted(PACKAGE.rglob("*.py"))
DEMO = {"demo", "demo.py"}

WRITERS = {
    "VideoWriter",
    "VideoWriter_fourcc",
    "imwritemulti",
    "imwriteanimation",
    "CAP_FFMPEG",
    "CAP_GSTREAMER",
}
PICTURE_WRITERS = {"imwrite"}
ARRAY_WRITERS = {"tofile", "dump", "save", "savez", "savez_compressed", "savetxt", "memmap"}
FILE_WRITERS = {"write_bytes", "write_text", "write_atomic", "NamedTemporaryFile", "TemporaryFile", "mkstemp"}
PROGRAMS = re.compile(
    r"ffmpeg|gst-launch|gstreamer|avconv|libx26[45]|\bvlc\b|\.(mp4|avi|mkv|webm)\b", re.IGNORECASE
)


def names(module: Path) -> Iterator[tuple[str, int]]:
    """Every name and attribute that a module mentions, with its line."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.alias):
            yield node.name.rpartition(".")[2], node.lineno


def texts(module: Path) -> Iterator[tuple[str, int]]:
    """Every string that a module could pass on: docstrings are not among them."""
    tree = ast.parse(module.read_text())
    spoken = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in spoken:
            yield node.value, node.lineno


def mentions(modules: list[Path], wanted: set[str]) -> list[str]:
    return [
        f"{module.relative_to(PACKAGE)}:{line}: {name}"
        for module in modules
        for name, line in names(module)
        if name in wanted
    ]


def in_packages(*packages: str) -> list[Path]:
    return [module for module in MODULES if module.relative_to(PACKAGE).parts[0] in packages]


def test_no_module_names_a_video_writer() -> None:
    assert len(MODULES) > 50
    assert mentions(MODULES, WRITERS) == []


def test_no_module_runs_a_program_that_could_record() -> None:
    said = [
        f"{module.relative_to(PACKAGE)}:{line}: {text!r}"
        for module in MODULES
        for text, line in texts(module)
        if PROGRAMS.search(text)
    ]
    assert said == []


def test_pictures_are_written_by_the_demo_only() -> None:
    product = [module for module in MODULES if not DEMO & set(module.relative_to(PACKAGE).parts)]
    assert mentions(product, PICTURE_WRITERS) == []


def test_the_data_path_can_write_no_file_and_no_array() -> None:
    path = in_packages("capture", "vision")
    assert len(path) > 12
    assert mentions(path, FILE_WRITERS | ARRAY_WRITERS | {"pickle", "shelve", "sqlite3"}) == []
    assert mentions(in_packages("agent"), ARRAY_WRITERS | {"pickle", "shelve"}) == []


def test_the_data_path_opens_files_for_reading_only() -> None:
    opened = []
    for module in in_packages("capture", "vision"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"open", "fdopen"}:
                opened.append(ast.unparse(node))
    # Python's own open is not among them: only devices, and sources' own method.
    assert set(opened) == {"source.open()", "os.open(self._device, os.O_RDWR | os.O_NONBLOCK)"}


def test_the_only_backend_that_is_named_cannot_read_a_network_either() -> None:
    assert {
        name for module in MODULES for name, _ in names(module) if re.fullmatch(r"CAP_[A-Z0-9]+", name)
    } == {"CAP_V4L2"}


# --- a run --------------------------------------------------------------------------------------------

LIMITED = """
import os, resource, signal, sys
opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        opened.append(str(arguments[0]))
sys.addaudithook(watch)
# From here on the kernel ends this process at the first octet that it writes to any file.
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
"""

BENCH = """
import numpy as np
from edgeagent.agent.recogniser import Recogniser
from edgeagent.capture.scene import SceneSource
from edgeagent.safeguards.decide import Policy
from edgeagent.vision.match import Gallery
from edgeagent.vision.types import Frame
from tests.real_networks import eyes, portrait

from pathlib import Path
scene, enrolled = sys.argv[1:]
networks = eyes()
template = networks.only_template(portrait(Path(enrolled)))
gallery = Gallery(template[None].copy(), np.zeros(1, np.int64))
policy = Policy(threshold=0.6, margin=0.05, agreeing_frames=3)
recogniser = Recogniser(networks.detector, networks.embedder, gallery, policy, 60.0)
source, slot = SceneSource(scene), np.zeros(1280 * 720 * 3, np.uint8)
source.open()
seen = hits = 0
for number in range(500):
    taken = source.read(slot)
    frame = Frame(slot.reshape(720, 1280, 3), taken.sequence * 66_000_000, taken.sequence)
    became = recogniser.process(frame, lambda *_: None)
    slot.fill(0)
    seen, hits = seen + became.seen, hits + became.alerted
    if hits and number > 10:
        break
source.close()
recogniser.destroy()
print(seen, hits, opened)
"""


def run(program: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-c", LIMITED + program, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(folder), "TMPDIR": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(file.relative_to(folder)): (file.stat().st_size, file.stat().st_mtime_ns)
        for file in folder.rglob("*")
    }


def test_a_bench_run_writes_no_file(tmp_path: Path) -> None:
    """From generated frames to a hit, under a limit that kills at the first octet written, in C too."""
    scene = write_street(tmp_path, 30.0, 3)
    before = listing(tmp_path)
    done = run(BENCH, tmp_path, str(scene), str(ENROLLED))
    assert done.returncode == 0, done.stderr[-2000:]
    seen, hits, opened = done.stdout.split(maxsplit=2)
    assert int(seen) > 10
    assert int(hits) == 1
    assert opened.strip() == "[]"
    assert listing(tmp_path) == before


RECORDERS = {
    "picture": "import cv2, numpy\ncv2.imwrite('frame.png', numpy.ones((64, 64, 3), numpy.uint8))",
    "array": "import numpy\nnumpy.save('frame.npy', numpy.ones(9))",
    "octets": "from pathlib import Path\nPath('frame.raw').write_bytes(b'frame')",
}


@pytest.mark.parametrize("program", RECORDERS.values(), ids=RECORDERS.keys())
def test_the_limit_does_end_whoever_writes(program: str, tmp_path: Path) -> None:
    """Without this the test above would prove nothing."""
    assert run(program, tmp_path).returncode == -signal.SIGXFSZ
