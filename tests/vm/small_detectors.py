"""The installed detectors for smaller pictures, built as `make models` builds them; run by .venv-models.

.venv-models/bin/python tests/vm/small_detectors.py FOLDER
"""

import sys
import tempfile
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "deploy" / "models")]

import assemble  # noqa: E402 - no package: run by its path
import describe  # noqa: E402

SMALL: dict[Literal["near", "far"], tuple[int, int]] = {"near": (160, 96), "far": (192, 128)}

if __name__ == "__main__":
    describe.SCENES = SMALL
    with tempfile.TemporaryDirectory() as downloads:
        files = assemble.build(Path(downloads), calibrate_again=False)
    for name, content in files.items():
        (Path(sys.argv[1]) / name).write_bytes(content)
