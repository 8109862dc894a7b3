"""Make the demo's pictures of stand-ins from portraits that pinned packages carry.

    python deploy/demo-assets/prepare.py FOLDER_OF_DOWNLOADED_PACKAGES

Each walker becomes a half-length cut-out with transparency (WebP), the enrolled view a plain JPEG.
Crop boxes and outlines were drawn by hand; GrabCut only moves an outline within a narrow band.
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
HEIGHT = 560
BAND = 9
"""How far, in pixels, the true edge may lie from the drawn outline."""
WEBP_QUALITY = 80
JPEG_QUALITY = 82

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Portrait:
    """One picture to make: from which member of which package, and which part (left, top, right, bottom)."""

    name: str
    package: str
    member: str
    sha256: str
    crop: tuple[int, int, int, int]
    outline: str = ""
    """Points "x,y" around the person, in thousandths of the crop's height."""


PORTRAITS = (
    Portrait(
        "eileen_collins",
        SKIMAGE,
        "skimage/data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        (0, 5, 505, 512),
        (
            "400,45 450,22 500,28 550,60 580,100 594,150 590,200 570,235 545,258 528,262 "
            "520,300 503,345 545,375 585,420 602,465 650,490 680,530 700,590 715,675 760,668 "
            "830,675 900,705 950,770 975,840 980,890 975,1000 60,1000 45,900 35,780 50,690 "
            "75,600 110,510 150,460 222,398 225,355 250,350 255,320 280,295 320,283 365,283 "
            "362,250 345,245 330,215 308,190 303,150 305,110 330,85 370,65"
        ),
    ),
    Portrait(
        "grace_hopper",
        MATPLOTLIB,
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        (0, 10, 512, 600),
        (
            "390,35 430,24 480,26 510,45 560,70 590,100 597,130 625,130 630,200 628,290 "
            "637,305 630,350 618,395 612,440 600,480 570,497 560,510 600,545 680,580 780,615 "
            "825,635 845,680 866,740 866,1000 20,1000 30,900 40,780 55,680 75,640 100,627 "
            "200,598 280,567 340,525 345,490 310,475 275,450 272,400 262,350 260,310 262,290 "
            "250,250 252,190 262,150 295,125 310,90 340,65 370,50"
        ),
    ),
    Portrait(
        "joe_biden",
        FACE_RECOGNITION,
        f"{IMAGES}/biden.jpg",
        "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
        (0, 40, 970, 1180),
        (
            "440,60 500,48 560,65 610,95 645,130 662,185 660,240 645,285 632,330 620,370 "
            "605,385 590,420 560,455 557,480 600,525 640,548 700,562 760,590 795,605 810,650 "
            "820,700 832,750 840,790 840,1000 65,1000 40,900 33,800 38,700 42,650 38,600 "
            "45,550 65,525 110,508 200,490 290,470 345,437 360,410 367,400 367,335 345,322 "
            "340,280 342,225 345,200 345,160 365,115 400,80"
        ),
    ),
    Portrait(
        "barack_obama_walking",
        FACE_RECOGNITION,
        f"{IMAGES}/obama3.jpg",
        "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
        (190, 170, 1230, 1390),
        (
            "440,55 490,42 530,52 570,90 590,140 597,190 597,230 603,232 600,270 588,310 "
            "575,315 568,335 545,375 540,400 548,430 600,460 680,475 750,498 775,510 785,560 "
            "790,620 800,680 825,760 850,835 830,900 800,965 770,995 770,1000 70,1000 48,920 "
            "35,850 50,760 65,680 70,620 85,570 100,520 125,495 200,475 280,460 355,410 "
            "365,380 372,370 370,300 362,285 345,285 325,265 318,235 325,205 345,200 348,170 "
            "355,125 390,80"
        ),
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
    whole = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if whole is None:
        sys.exit(f"{portrait.member}: not a picture")
    picture = np.asarray(whole, np.uint8)
    left, top, right, bottom = portrait.crop
    return picture[top:bottom, left:right]


def cut_out(picture: Image, outline: str) -> Image:
    """(H, W, 4) BGRA with the background transparent: GrabCut inside a band around the drawn outline."""
    height, width = picture.shape[:2]
    points = [[float(number) for number in point.split(",")] for point in outline.split()]
    drawn = np.zeros((height, width), np.uint8)
    cv2.fillPoly(drawn, [np.rint(np.array(points) * height / 1000).astype(np.int32)], 1)
    padded = cv2.copyMakeBorder(drawn, BAND, BAND, BAND, BAND, cv2.BORDER_REPLICATE)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * BAND + 1, 2 * BAND + 1))
    inner, outer = (step(padded, disc)[BAND:-BAND, BAND:-BAND] for step in (cv2.erode, cv2.dilate))
    mask = np.where(drawn > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    mask[inner > 0], mask[outer == 0] = cv2.GC_FGD, cv2.GC_BGD
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65), np.float64), np.zeros((1, 65), np.float64)
    cv2.grabCut(picture, mask, (0, 0, width, height), *models, 3, cv2.GC_INIT_WITH_MASK)
    solid = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    smooth = cv2.medianBlur(solid, 11)
    alpha = cv2.GaussianBlur(cv2.erode(smooth, np.ones((3, 3), np.uint8)), (0, 0), 1.3)
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
            cut_out(np.asarray(small, np.uint8), portrait.outline),
            [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY],
        )
        print(target.name, target.stat().st_size)
    target = OUT / f"{ENROLLED.name}.jpg"
    cv2.imwrite(str(target), read(ENROLLED, packages), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    print(target.name, target.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
