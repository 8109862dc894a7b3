"""The fuzzer's parsers without a fuzzer: genuine input is taken, so a refusal of the rest shows something."""

from __future__ import annotations

import pytest

from edgeagent.capture.protocol import REPLY_BYTES, Reply
from edgeagent.errors import EdgeAgentError
from tests.fuzz.parsers import Parser, parsers

JUNK = [
    b"",
    b"\0",
    b"\xff" * 30,
    b"{",
    b"[" * 2000,
    b'{"a":' * 2000,
    b"9" * 5000,
    b"a.b.c",
    b"{}",
    b"\xef\xbb\xbf",
]


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> list[Parser]:
    """Every parser of untrusted input."""
    return parsers(tmp_path_factory.mktemp("fuzz"))


def test_genuine_input_is_taken(every: list[Parser]) -> None:
    assert len({parser.name for parser in every}) == len(every)
    for parser in every:
        for genuine in parser.genuine:
            parser.call(genuine)


def test_junk_and_cut_input_is_refused_by_name(every: list[Parser]) -> None:
    for parser in every:
        cut = [genuine[: len(genuine) // 2] for genuine in parser.genuine]
        # Half a path is a path, half a log is a shorter log; a cut list can be explained.
        if parser.name in ("camera source", "explain", "audit log"):
            cut = []
        for octets in [*JUNK, *cut]:
            with pytest.raises(ValueError if parser.plain else EdgeAgentError):
                parser.call(octets)


@pytest.mark.parametrize("length", [0, 1, REPLY_BYTES - 1, REPLY_BYTES + 1])
def test_a_reply_of_another_length_is_a_value_error(length: int) -> None:
    with pytest.raises(ValueError, match="octets"):
        Reply.unpack(bytes(length))
