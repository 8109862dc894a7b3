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
FACES = {
    SUBJECT: (0.064, 0.78),
    "passer-by-1": (-0.051, 0.785),
    "passer-by-2": (0.013, 0.66),
    "passer-by-3": (0.08, 0.73),
}
"""Where the face is in a cut-out, as in `Actor.face`."""
TALL = {SUBJECT: 1.0, "passer-by-1": 1.06, "passer-by-2": 0.82, "passer-by-3": 0.96}
"""Makes heads of about one size: the portraits show more or less of the body."""
ORDER = ("passer-by-1", SUBJECT, "passer-by-2", "passer-by-3")
WIDTH, HEIGHT, FPS = 1280, 720, 15
BESIDE, BELOW = 230.0, 12.0
"""How far outside the picture, in pixels, a cut-out enters, and its cut lower edge stays."""
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
    near, far = (TALL[name] * float(rng.uniform(*span)) for span in ((480, 540), (420, 470)))
    edges = (-BESIDE, WIDTH + BESIDE)
    start, end = edges if rightwards else edges[::-1]
    return Actor(
        name=name,
        picture=WALKERS[name],
        enters_s=enters_s,
        crosses_s=float(rng.uniform(6.5, 8.5)),
        start=(start, HEIGHT + BELOW),
        end=(end, HEIGHT + 2 * BELOW),
        height=(far, near),
        face=FACES[name],
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
