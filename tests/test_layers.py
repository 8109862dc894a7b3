"""The package's shape: imports point downwards, the pure parts are pure, and nothing can record a video."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import edgeagent

PACKAGE = Path(edgeagent.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(file.relative_to(PACKAGE)) for file in FILES]
EVERY_FILE = pytest.mark.parametrize("file", FILES, ids=IDS)

# Higher may import lower, and its own rank as far as that makes no cycle.
RANK = {
    "errors": 0,
    "safeguards": 1,
    "vision": 2,
    "system": 3,
    "documents": 3,
    "alerts": 3,
    "capture": 3,
    "audit": 3,
    "config": 3,
    "models": 3,
    "agent": 4,
    "controlroom": 4,
    "evaluation": 4,
    "fleet": 4,
    "demo": 5,
    "cli": 5,
    "__main__": 6,
}
APART = [("agent", "controlroom"), ("controlroom", "agent"), ("capture", "alerts"), ("alerts", "capture")]


def module_of(file: Path) -> str:
    """Dotted name of a file of the package."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> set[str]:
    """Dotted names that a file imports, wherever in it, submodules resolved."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: relative import"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return found


MODULES = {module_of(file) for file in FILES}


def layer(module: str) -> str:
    """The part of the package that a module belongs to; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def own(names: set[str]) -> set[str]:
    """Those of the package's own modules."""
    return {name for name in names if name.split(".")[0] == "edgeagent"}


def test_every_part_has_a_rank() -> None:
    assert {layer(module) for module in MODULES} - {""} <= set(RANK)


@EVERY_FILE
def test_imports_point_downwards(file: Path) -> None:
    here = layer(module_of(file))
    if not here:
        assert not own(imports(file))
        return
    for name in own(imports(file)):
        there = layer(name)
        assert there or here == "cli", f"{file.name} imports the package itself"  # its version
        if not there:
            continue
        assert RANK[there] <= RANK[here], f"{here} must not import {there} ({name})"
        assert (here, there) not in APART, f"{here} must not import {there} ({name})"


def test_there_is_no_import_cycle() -> None:
    graph = {module_of(file): own(imports(file)) - {module_of(file)} for file in FILES}
    TopologicalSorter(graph).prepare()


# --- purity -------------------------------------------------------------------------------------------------

SAFEGUARDS_MAY = {
    "__future__",
    "collections",
    "dataclasses",
    "datetime",
    "enum",
    "math",
    "re",
    "typing",
    "pydantic",
    "itertools",
    "unicodedata",
}
OF_MEMORY = {"contextlib", "ctypes", "mmap", "weakref"}
VISION_MAY = OF_MEMORY | {
    "__future__",
    "collections",
    "cv2",
    "dataclasses",
    "enum",
    "functools",
    "importlib",
    "itertools",
    "math",
    "numpy",
    "typing",
}
CLOCKS = {"now", "utcnow", "today", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "getTickCount"}
FILE_AND_SCREEN = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint", "getattr", "globals"}
FILES_OF_NUMPY_AND_CV2 = {
    "fromfile",
    "genfromtxt",
    "imread",
    "imreadmulti",
    "imshow",
    "imwrite",
    "imwritemulti",
    "load",
    "loadtxt",
    "memmap",
    "save",
    "savetxt",
    "savez",
    "savez_compressed",
    "tofile",
    "VideoCapture",
    "VideoWriter",
    "FileStorage",
}


def names_used(file: Path) -> set[str]:
    """Attributes and bare names in a file."""
    tree = ast.parse(file.read_text())
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return attributes | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def calls(file: Path) -> set[str]:
    """Names that a file calls, methods by their last word."""
    called = [node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    methods = {function.attr for function in called if isinstance(function, ast.Attribute)}
    return methods | {function.id for function in called if isinstance(function, ast.Name)}


def of_layer(name: str) -> list[Path]:
    """Files of one part."""
    return [file for file in FILES if layer(module_of(file)) == name]


@pytest.mark.parametrize("file", of_layer("safeguards"), ids=lambda file: str(file.name))
def test_safeguards_are_pure(file: Path) -> None:
    """Facts and time in, decisions out: an import that is not on the list needs a reason."""
    outside = {name.split(".")[0] for name in imports(file)} - {"edgeagent"}
    assert outside <= SAFEGUARDS_MAY
    assert not calls(file) & (CLOCKS | FILE_AND_SCREEN)


@pytest.mark.parametrize("file", of_layer("vision"), ids=lambda file: str(file.name))
def test_vision_touches_no_file_network_or_clock(file: Path) -> None:
    """Arrays in, arrays out. `importlib` finds the runtime that is installed and nothing else."""
    outside = {name.split(".")[0] for name in imports(file)} - {"edgeagent"}
    assert outside <= VISION_MAY
    assert not calls(file) & (CLOCKS | FILE_AND_SCREEN)
    assert not names_used(file) & FILES_OF_NUMPY_AND_CV2
    if "importlib" in outside:
        assert file.name == "runtime.py"
    if outside & OF_MEMORY:
        assert file.name == "memory.py"


def test_pure_parts_load_no_io_of_their_own() -> None:
    assert not own(imports(PACKAGE / "errors.py"))
    for file in of_layer("safeguards"):
        assert {layer(name) for name in own(imports(file))} <= {"safeguards", "errors"}


def test_only_commands_exit_and_print() -> None:
    for file in FILES:
        if layer(module_of(file)) not in ("cli", "demo", "__main__"):
            source = ast.parse(file.read_text())
            calls = [node.func for node in ast.walk(source) if isinstance(node, ast.Call)]
            named = {call.id for call in calls if isinstance(call, ast.Name)}
            exits = [call for call in calls if isinstance(call, ast.Attribute) and call.attr == "exit"]
            assert not named & {"print", "exit", "quit", "input"}, file.name
            assert not [call for call in exits if isinstance(call.value, ast.Name) and call.value.id == "sys"]


# --- R4: no video is recorded -------------------------------------------------------------------------------

RECORDERS = (
    "VideoWriter",
    "imwrite",
    "filesink",
    "multifilesink",
    "x264enc",
    "ffmpeg",
    "FfmpegOutput",
    "FileOutput",
    "H264Encoder",
    "MJPEGEncoder",
    "start_recording",
    "start_encoder",
    "capture_file",
    "imageio",
    "skvideo",
    "pyav",
)


@EVERY_FILE
def test_no_video_or_picture_writer_is_reachable(file: Path) -> None:
    """R4, in names, in strings and in imports; the demo draws its own report and is not on a unit's path."""
    if layer(module_of(file)) == "demo":
        return
    source = ast.parse(file.read_text())
    texts = [node.value for node in ast.walk(source) if isinstance(node, ast.Constant)]
    short = {text for text in texts if isinstance(text, str) and "\n" not in text.strip()}
    code = names_used(file) | imports(file) | short
    for word in RECORDERS:
        assert not [text for text in code if word in text], f"{word} in {file.name}"


def test_no_part_of_a_unit_imports_the_demo() -> None:
    for file in FILES:
        if layer(module_of(file)) not in ("cli", "demo"):
            assert "demo" not in {layer(name) for name in own(imports(file))}, file.name


def test_the_standard_librarys_names_are_known() -> None:
    """The allowed lists name real modules, so that a misspelt one does not pass for a rule."""
    third_party = {"pydantic", "numpy", "cv2"}
    assert (SAFEGUARDS_MAY | VISION_MAY) - third_party <= set(sys.stdlib_module_names)
