"""Make the demo's pictures of stand-ins from portraits that pinned packages carry.

    python deploy/demo-assets/prepare.py FOLDER_OF_DOWNLOADED_PACKAGES

Each walker becomes a head-and-shoulders cut-out with transparency (WebP), the enrolled view a plain JPEG.
Crop boxes and the rough outlines that seed GrabCut were drawn by hand, as fractions of the crop.
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

OUT = Path(__file__).resolve().parents[2] / "edgeagent" / "demo" / "assets"
SKIMAGE = "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl"
MATPLOTLIB = "matplotlib-3.11.2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"
FACE_RECOGNITION = "face_recognition-1.3.0.tar.gz"
IMAGES = "face_recognition-1.3.0/tests/test_images"
HEIGHT = 360
WEBP_QUALITY = 82
JPEG_QUALITY = 90

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Portrait:
    """One picture to make: from which member of which package, and which part (left, top, right, bottom)."""

    name: str
    package: str
    member: str
    sha256: str
    crop: tuple[int, int, int, int]
    margin: float = 0.06
    """Share of the width, on the left above the shoulders, that is background for certain."""


PORTRAITS = (
    Portrait(
        "eileen_collins",
        SKIMAGE,
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        (110, 5, 340, 235),
    ),
    Portrait(
        "grace_hopper",
        MATPLOTLIB,
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        (90, 10, 470, 420),
    ),
    Portrait(
        "joe_biden",
        FACE_RECOGNITION,
        f"{IMAGES}/biden.jpg",
        "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
        (210, 60, 860, 760),
    ),
    Portrait(
        "barack_obama_walking",
        FACE_RECOGNITION,
        f"{IMAGES}/obama3.jpg",
        "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
        (330, 180, 990, 880),
        0.365,
    ),
)
ENROLLED = Portrait(
    "barack_obama_enrolled",
    FACE_RECOGNITION,
    f"{IMAGES}/obama.jpg",
    "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
    (270, 0, 700, 470),
)


def read(portrait: Portrait, packages: Path) -> Image:
    """The cropped picture, after its bytes were checked."""
    archive = packages / portrait.package
    if portrait.package.endswith(".whl"):
        content = zipfile.ZipFile(archive).read(portrait.member)
    else:
        with tarfile.open(archive) as tar:
            member = tar.extractfile(portrait.member)
            assert member is not None, portrait.member
            content = member.read()
    digest = hashlib.sha256(content).hexdigest()
    if digest != portrait.sha256:
        sys.exit(f"{portrait.member}: sha256 {digest}, expected {portrait.sha256}")
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        sys.exit(f"{portrait.member}: not a picture")
    left, top, right, bottom = portrait.crop
    return np.asarray(picture[top:bottom, left:right], np.uint8)


def cut_out(picture: Image, margin: float) -> Image:
    """(H, W, 4) BGRA with the background transparent: GrabCut from a head-and-shoulders guess."""
    height, width = picture.shape[:2]
    mask = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    head = (round(width * 0.5), round(height * 0.40))
    cv2.ellipse(mask, head, (round(width * 0.30), round(height * 0.40)), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.ellipse(mask, head, (round(width * 0.16), round(height * 0.24)), 0, 0, 360, cv2.GC_FGD, -1)
    shoulders = (round(width * 0.5), round(height * 1.05))
    cv2.ellipse(mask, shoulders, (round(width * 0.50), round(height * 0.30)), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.ellipse(mask, shoulders, (round(width * 0.30), round(height * 0.22)), 0, 0, 360, cv2.GC_FGD, -1)
    mask[: round(height * 0.02)] = cv2.GC_BGD
    mask[: round(height * 0.6), : round(width * margin)] = cv2.GC_BGD
    mask[: round(height * 0.6), -round(width * 0.06) :] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65), np.float64), np.zeros((1, 65), np.float64)
    cv2.grabCut(picture, mask, (0, 0, width, height), *models, 6, cv2.GC_INIT_WITH_MASK)
    solid = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid)
    if count > 1:
        solid = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    closed = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    alpha = cv2.GaussianBlur(cv2.erode(closed * 255, np.ones((3, 3), np.uint8)), (0, 0), 1.6)
    return np.dstack([picture, alpha.astype(np.uint8)])


def main(packages: Path) -> None:
    """Write every asset."""
    OUT.mkdir(parents=True, exist_ok=True)
    for portrait in PORTRAITS:
        whole = read(portrait, packages)
        scale = HEIGHT / whole.shape[0]
        small = cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        target = OUT / f"{portrait.name}.webp"
        cv2.imwrite(
            str(target),
            cut_out(np.asarray(small, np.uint8), portrait.margin),
            [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY],
        )
        print(target.name, target.stat().st_size)
    target = OUT / f"{ENROLLED.name}.jpg"
    cv2.imwrite(str(target), read(ENROLLED, packages), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    print(target.name, target.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
