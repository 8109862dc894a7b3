"""R23: avoiding the camera is nobody's business, so nothing can say that somebody did."""

from __future__ import annotations

import ast
import re
from enum import Enum
from pathlib import Path
from typing import get_args

import edgeagent
from edgeagent.alerts.topics import FROM_UNIT, TO_UNIT
from edgeagent.documents.messages import Alert, CameraState, Presence, UnitState
from edgeagent.safeguards.categories import Category, ImageBasis, UseCase
from edgeagent.safeguards.gate import Action, Event, State

AVOIDING = re.compile(
    r"avoid|evad|evasi|cover|mask|hood|disguis|conceal|turn(ed|ing)?_?(away|back|round)|refus(al|ed)_to|suspicio",
    re.IGNORECASE,
)
PACKAGE = Path(edgeagent.__file__).parent


def test_no_event_state_or_action_is_about_avoiding() -> None:
    names = [event.__name__ for event in get_args(Event)]
    enums: list[type[Enum]] = [State, Action, Presence, CameraState, Category, ImageBasis, UseCase]
    names += [str(member.value) for kind in enums for member in kind]
    assert len(get_args(Event)) == 9
    assert not [name for name in names if AVOIDING.search(name)]


def test_no_message_or_field_is_about_avoiding() -> None:
    fields = [*Alert.model_fields, *UnitState.model_fields, *FROM_UNIT, *TO_UNIT]
    assert not [name for name in fields if AVOIDING.search(name)]
    assert set(FROM_UNIT) == {"alert", "state", "health"}


def test_no_class_of_the_package_is_about_avoiding() -> None:
    for file in sorted(PACKAGE.rglob("*.py")):
        classes = [
            node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)
        ]
        assert not [name for name in classes if AVOIDING.search(name)], file.name
