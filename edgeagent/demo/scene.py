"""The demo's street: stand-ins walk past, several at a time; one of them is the test subject."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from edgeagent.capture.scene import Actor, Scene
from edgeagent.system.files import write_atomic

ASSETS = Path(__file__).parent / "assets"
ENROLLED = ASSETS / "barack_obama_enrolled.jpg"
"""The view that is enrolled; another photograph of the same person walks past."""

SUBJECT = "subject"
WALKERS = {
    SUBJECT: "barack_obama_walking.webp",
    "passer-by-1": "eileen_collins.webp",
    "passer-by-2": "grace_hopper.webp",
    "passer-by-3": "joe_biden.webp",
}
ORDER = ("passer-by-1", SUBJECT, "passer-by-2", "passer-by-3")
WIDTH, HEIGHT, FPS = 1280, 720, 15
GAP_S = 2.1
"""A new person enters this often, so three or four are in the picture together."""


def street(seconds: float, seed: int) -> Scene:
    """The scene: each walk has a view of its own, drawn from the seed."""
    rng = np.random.default_rng(seed)
    actors, enters_s, index = [], 0.0, 0
    while enters_s < seconds:
        actors.append(_walk(ORDER[index % len(ORDER)], enters_s, rng))
        enters_s, index = enters_s + GAP_S, index + 1
    return Scene(
        width=WIDTH, height=HEIGHT, fps=FPS, seconds=seconds, seed=seed, noise=3.0, actors=tuple(actors)
    )


def _walk(name: str, enters_s: float, rng: np.random.Generator) -> Actor:
    rightwards = bool(rng.integers(2))
    near, far = float(rng.uniform(300, 350)), float(rng.uniform(250, 290))
    lower = float(rng.uniform(500, 620))
    edges = (-150.0, WIDTH + 150.0)
    start, end = edges if rightwards else edges[::-1]
    return Actor(
        name=name,
        picture=WALKERS[name],
        enters_s=enters_s,
        crosses_s=float(rng.uniform(6.5, 8.5)),
        start=(start, lower - 40),
        end=(end, lower + 40),
        height=(far, near),
        turn=float(rng.uniform(-0.22, 0.22)),
        gain=float(rng.uniform(0.8, 1.12)),
        gamma=float(rng.uniform(0.85, 1.2)),
        blur=float(rng.uniform(0.3, 0.9)),
    )


def write_street(folder: Path, seconds: float, seed: int) -> Path:
    """Write the scene file and the pictures that it needs; the scene file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in WALKERS.values():
        shutil.copyfile(ASSETS / picture, folder / picture)
    file = folder / "street.json"
    write_atomic(file, street(seconds, seed).model_dump_json(indent=1).encode())
    return file
