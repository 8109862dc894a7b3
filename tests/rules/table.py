"""`make rules`: every rule, the tests that show it, and their result; fails if a rule has no test or fails.

python -m tests.rules.table [--markdown]
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

import click
import pytest

FOLDER = Path(__file__).parent
RULES = {
    1: "everybody not on the list is deleted almost at once",
    2: "bystanders are not shown in an alert",
    3: "alerts are kept no longer than the limit",
    4: "no video is recorded",
    6: "the list is made for one deployment, at most 24 h before",
    7: "every entry is lawfully held, current, with its source",
    8: "objective categories only",
    9: "the list's size is capped",
    10: "under-18s only with a recorded reason and a second signature",
    11: "no custody images of people never convicted",
    12: "no authority, no capture; where and why in writing",
    13: "closed use cases; assemblies refused",
    14: "start, end, no renewal; urgent at most 24 h",
    15: "by whose written authority",
    16: "camera open only while officers are on the ground",
    17: "false alert rate is guarded",
    18: "threshold has a certified floor",
    19: "lowering the threshold needs a new certificate",
    20: "never on a score alone: an operator decides",
    21: "then an officer decides",
    22: "signs before capture",
    23: "avoiding the camera is nobody's business",
    24: "local cameras only",
    25: "log of collection, consultation, disclosure, erasure",
    26: "period of each use, and who verified",
    27: "independent authorisation; a revocation ends it at once",
    28: "no live use without an evaluation per group",
    29: "an outcome is recorded for every alert",
    30: "published record of every deployment",
    31: "a person may learn whether they were listed",
    32: "consenting test subjects measure the miss rate",
    33: "recorded pictures are not a camera",
}
LATER = {
    20: "signed decisions by command; later: the operator's console",
    21: "signed verdicts by command; later: the operator's console",
    29: "open until its outcome; later: the operator's console",
}
_NAME = re.compile(r"test_r(\d\d(?:_\d\d)*)_")


class _Results:
    """Counts outcomes by file."""

    def __init__(self) -> None:
        self.passed: dict[str, int] = defaultdict(int)
        self.failed: dict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = Path(report.location[0]).name
        if report.failed:
            self.failed[name] += 1
        elif report.when == "call" and report.passed:
            self.passed[name] += 1


def files_of() -> dict[int, list[str]]:
    """Test files of each rule, by the numbers in their names."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(FOLDER.glob("test_r*.py")):
        match = _NAME.match(path.name)
        if match is None:
            raise SystemExit(f"{path.name} names no rule")
        for number in match[1].split("_"):
            found[int(number)].append(path.name)
    return found


def rows(results: _Results | None) -> list[tuple[str, str, str, str]]:
    """Rule, title, tests, result."""
    files = files_of()
    table = []
    for number, title in RULES.items():
        names = files.get(number, [])
        table.append((f"R{number}", title, ", ".join(names) or "-", _verdict(number, names, results)))
    return table


def _verdict(number: int, names: list[str], results: _Results | None) -> str:
    later = LATER.get(number, "")
    if not names:
        return later or "NO TEST"
    if results is None:
        return later or "tested"
    failed = sum(results.failed[name] for name in names)
    passed = sum(results.passed[name] for name in names)
    if failed or not passed:
        return f"FAILED {failed} of {failed + passed}"
    return f"{passed} passed" + (f"; {later}" if later else "")


@click.command()
@click.option("--markdown", is_flag=True, help="Print the README's table instead, without running a test.")
def main(markdown: bool) -> None:
    """Print the table of rules."""
    if markdown:
        print("| rule | what it demands | tests in `tests/rules/` | state |\n|---|---|---|---|")
        for rule, title, names, verdict in rows(None):
            print(f"| {rule} | {title} | {names.replace('test_', '').replace('.py', '')} | {verdict} |")
        return
    results = _Results()
    options = ["-q", "--no-header", "--no-summary", "-n", "2", "--dist", "loadfile"]
    pytest.main([str(FOLDER), *options], plugins=[results])
    table = rows(results)
    print()
    for rule, title, names, verdict in table:
        print(f"{rule:4} {title:62} {verdict:24} {names}")
    sys.exit(any(verdict.startswith(("FAILED", "NO TEST")) for *_, verdict in table))


if __name__ == "__main__":
    main()
