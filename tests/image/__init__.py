"""The arm64 image, booted through U-Boot in an emulator: `make test-image`."""

import sys
from pathlib import Path

# The programs that build images are no package: they are run by their path.
sys.path[:0] = [str(Path(__file__).parents[2] / "deploy" / "image")]
