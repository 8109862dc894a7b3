"""A crowd for a soak: as many people a frame as fit beside each other, each gone after two frames.

Pictures are drawn once, as generated scenes are, and given again and again under new names: no frame is
skipped, so the machine's speed sets the pace. Heads are cut off below the chin, so that nobody hides anybody.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from edgeagent.capture.scene import Actor, Scene, SceneRenderer
from edgeagent.demo.scene import ASSETS, FACES, SUBJECT, WALKERS

WIDTH, HEIGHT, FPS = 640, 384, 20
STAYS = 2
"""Frames in which a person is seen; as many must agree, so each counts for the false alert rate (R17)."""
COLUMNS, ROWS = 4, 3
A_WAVE = COLUMNS * ROWS
EYES_APART = 19.0
"""Inter-eye distance in pixels: a little more than the least that is compared."""
EYES_TO_HEIGHT = {SUBJECT: 0.0993, "passer-by-1": 0.0836, "passer-by-2": 0.142, "passer-by-3": 0.108}
"""Inter-eye distance as a share of the cut-out's height, as the detector sees it."""
BELOW = 2.8
"""How far below the middle of the face the cut-out ends, in inter-eye distances."""
OFFSETS = tuple(product(range(0, 144, 36), range(0, 96, 32)))
"""Where a wave stands: in turn, so that nobody comes where somebody was within the life of a track."""
WAVES = len(OFFSETS) * 8
FRAMES = WAVES * STAYS
PEOPLE = WAVES * A_WAVE
SUBJECT_ONCE_IN = len(OFFSETS)


def write_pictures(folder: Path, frames: int) -> Path:
    """A folder of `frames` pictures, all of them names of the same `FRAMES` files."""
    drawn, named = folder / "drawn", folder / "pictures"
    drawn.mkdir(parents=True)
    named.mkdir()
    renderer = SceneRenderer(_scene_file(drawn))
    for number in range(min(FRAMES, frames)):
        picture = renderer.draw(number)
        assert cv2.imwrite(str(drawn / f"{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    for number in range(frames):
        (named / f"{number:07}.jpg").hardlink_to(drawn / f"{number % FRAMES}.jpg")
    return named.resolve()


def _scene_file(folder: Path) -> Path:
    for name, picture in WALKERS.items():
        _cut_head(name, ASSETS / picture, folder / f"{name}.png")
    rng = np.random.default_rng(6)
    actors = tuple(actor for wave in range(WAVES) for actor in _wave(wave, rng))
    scene = Scene(width=WIDTH, height=HEIGHT, fps=FPS, seconds=FRAMES / FPS, seed=6, noise=2.0, actors=actors)
    file = folder / "street.json"
    file.write_text(scene.model_dump_json())
    return file


def _cut_head(name: str, source: Path, target: Path) -> None:
    if name not in EYES_TO_HEIGHT:
        shutil.copyfile(source, target)
        return
    whole = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)
    assert whole is not None
    assert cv2.imwrite(str(target), whole[: round(whole.shape[0] * _kept(name))])


def _kept(name: str) -> float:
    """Share of the cut-out's height, from above."""
    return min(1.0, 1 - FACES[name][1] + BELOW * EYES_TO_HEIGHT[name])


def _wave(wave: int, rng: np.random.Generator) -> Iterator[Actor]:
    others = [name for name in WALKERS if name != SUBJECT]
    for place, (column, row) in enumerate(product(range(COLUMNS), range(ROWS))):
        subject = wave % SUBJECT_ONCE_IN == 0 and place == 0
        name = SUBJECT if subject else others[int(rng.integers(len(others)))]
        x, y = OFFSETS[wave % len(OFFSETS)]
        yield _person(name, wave, 50 + column * 148 + x, 42 + row * 120 + y, rng)


def _person(name: str, wave: int, x: float, y: float, rng: np.random.Generator) -> Actor:
    """Somebody whose face is at (x, y) pixels and moves two pixels from frame to frame."""
    height = EYES_APART / EYES_TO_HEIGHT[name] * _kept(name)
    right, up = FACES[name][0] / _kept(name), BELOW * EYES_TO_HEIGHT[name] / _kept(name)
    start = x - right * height, y + up * height
    return Actor(
        name=name,
        picture=f"{name}.png",
        enters_s=wave * STAYS / FPS,
        crosses_s=STAYS / FPS - 1e-6,
        start=start,
        end=(start[0] + 2.0 * STAYS, start[1]),
        height=(height, height),
        face=(right, up),
        turn=float(rng.uniform(-0.1, 0.1)),
        gain=float(rng.uniform(0.85, 1.1)),
        gamma=float(rng.uniform(0.9, 1.1)),
        blur=0.3,
    )
