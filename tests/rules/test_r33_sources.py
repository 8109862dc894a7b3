"""R33: recorded or generated pictures are not a camera, and a bench is given no camera. Every combination."""

from __future__ import annotations

from itertools import product

import pytest

from edgeagent.errors import SafeguardError
from edgeagent.safeguards.sources import SourceKind, SourceSpec, source_allowed

SPECS = {
    SourceKind.CAMERA: SourceSpec(SourceKind.CAMERA, "v4l2", "/dev/video0"),
    SourceKind.GENERATED: SourceSpec(SourceKind.GENERATED, "scene", "/srv/street.json"),
    SourceKind.RECORDED: SourceSpec(SourceKind.RECORDED, "pictures", "/srv/faces"),
}
EXPECTED = {
    # (bench, kind, list of test subjects only): what the refusal says, or None
    (False, SourceKind.CAMERA, False): None,
    (False, SourceKind.CAMERA, True): None,
    (False, SourceKind.GENERATED, False): r"camera only, .*\(generated scene\)",
    (False, SourceKind.GENERATED, True): r"camera only, .*\(generated scene\)",
    (False, SourceKind.RECORDED, False): r"camera only, .*\(recorded pictures\)",
    (False, SourceKind.RECORDED, True): r"camera only, .*\(recorded pictures\)",
    (True, SourceKind.CAMERA, False): "a bench takes no camera",
    (True, SourceKind.CAMERA, True): "a bench takes no camera",
    (True, SourceKind.GENERATED, False): "test subjects only",
    (True, SourceKind.GENERATED, True): None,
    (True, SourceKind.RECORDED, False): "test subjects only",
    (True, SourceKind.RECORDED, True): None,
}


def test_the_table_is_complete() -> None:
    assert set(EXPECTED) == set(product((False, True), SourceKind, (False, True)))


@pytest.mark.parametrize(("bench", "kind", "subjects"), EXPECTED)
def test_every_combination(bench: bool, kind: SourceKind, subjects: bool) -> None:
    says = EXPECTED[bench, kind, subjects]
    if says is None:
        source_allowed(SPECS[kind], bench=bench, all_entries_are_test_subjects=subjects)
        return
    with pytest.raises(SafeguardError, match=says) as refusal:
        source_allowed(SPECS[kind], bench=bench, all_entries_are_test_subjects=subjects)
    assert refusal.value.rule == "R33"
    assert refusal.value.next_step
