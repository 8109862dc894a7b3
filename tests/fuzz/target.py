"""Coverage-guided fuzzing of every parser of untrusted input: `make fuzz SECONDS=60`.

The first octet chooses the parser, the rest is its input. Anything but a named error ends the run with the
input that did it, in the folder `build/fuzz`.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["edgeagent", "joserfc"]):
    from edgeagent.errors import EdgeAgentError
    from tests.fuzz.parsers import Parser, parsers

EVERY = 50_000
"""After so many executions the counts by parser are printed."""


class Target:
    """Runs one parser an execution and counts how it answered."""

    def __init__(self, parsers: list[Parser]) -> None:
        self._parsers = parsers
        self._answers: Counter[tuple[str, str]] = Counter()
        self._executions = 0

    def __call__(self, octets: bytes) -> None:
        """One execution.

        Raises:
            Exception: what no parser may raise.
        """
        if not octets:
            return
        parser = self._parsers[octets[0] % len(self._parsers)]
        try:
            parser.call(octets[1:])
            answer = "taken"
        except EdgeAgentError:
            answer = "refused"
        except ValueError:
            if not parser.plain:
                raise
            answer = "refused"
        self._answers[parser.name, answer] += 1
        self._executions += 1
        if self._executions % EVERY == 0:
            self._report()

    def _report(self) -> None:
        print(f"after {self._executions} executions, by parser: taken / refused", file=sys.stderr)
        for parser in self._parsers:
            taken, refused = (self._answers[parser.name, answer] for answer in ("taken", "refused"))
            print(f"  {parser.name:28} {taken:9} {refused:9}", file=sys.stderr)


def write_corpus(parsers: list[Parser], folder: Path) -> None:
    """Genuine input of each parser, to start from."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, parser in enumerate(parsers):
        for which, genuine in enumerate(parser.genuine):
            (folder / f"{parser.name.replace(' ', '-')}-{which}").write_bytes(bytes([number]) + genuine)


def main() -> None:
    """Fuzz; the first argument is the folder of the corpus, the others are libFuzzer's."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        known = parsers(Path(folder))
        corpus = Path(sys.argv[1])
        write_corpus(known, corpus)
        target = Target(known)
        for file in sorted(corpus.iterdir()):  # genuine input is taken before anything is mutated
            target(file.read_bytes())
        atheris.Setup([sys.argv[0], *sys.argv[2:], str(corpus)], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
