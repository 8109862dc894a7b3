"""The unit's side of a deployment: packed into one file, sent along, asked step by step."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unit.faults import DeployError
from unit.link import Link, send

HERE = Path(__file__).parent
REMOTE = "/run/edgeagent-deploy/tool.pyz"
PYTHON = "/usr/bin/python3"
MAIN = "import sys\nfrom unit.on_unit.cli import main\nsys.exit(main(sys.argv[1:]))\n"
EPOCH = (1980, 1, 1, 0, 0, 0)


def packed() -> bytes:
    """A Python archive of `on_unit`; the same bytes for the same sources."""
    content = {"__main__.py": MAIN.encode(), "unit/__init__.py": b""}
    for file in sorted((HERE / "on_unit").glob("*.py")):
        content[f"unit/on_unit/{file.name}"] = file.read_bytes()
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text)
    return whole.getvalue()


@dataclass(frozen=True)
class Tool:
    """The unit's side, on the unit."""

    link: Link

    def ask(self, *step: str, content: bytes = b"") -> Any:
        """Do one step, with something to read; its answer.

        Raises:
            DeployError: in the unit's words.
            ConnectionLostError: the connection is gone.
        """
        return self._answer(self.link.run([PYTHON, "-I", REMOTE, *step], content), step[0])

    def give(
        self, name: str, file: Path, sha256: str, told: Callable[[int], None], step: str = "receive"
    ) -> None:
        """Copy a file."""
        call = [PYTHON, "-I", REMOTE, step, name, str(file.stat().st_size), sha256]
        with file.open("rb") as content:
            self._answer(send(self.link, call, content, told), step)

    def confirm(self, transaction: str) -> bool:
        """Say over a new connection that the unit is still reached."""
        return self.link.run_anew([PYTHON, "-I", REMOTE, "confirm", transaction])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else deploys to this unit meanwhile; ends with this process, however it ends."""
        process = self.link.popen([PYTHON, "-I", REMOTE, "hold"], subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None  # noqa: PT018 - by PIPE
        line = process.stdout.readline()
        if not line.startswith(b'"held"'):
            process.kill()
            process.wait()
            self._answer(subprocess.CompletedProcess([], 1, line, b""), "hold")
        try:
            yield
        finally:
            process.stdin.close()
            process.wait()

    def _answer(self, done: subprocess.CompletedProcess[bytes], step: str) -> Any:
        try:
            answer = json.loads(done.stdout.strip().splitlines()[-1])
        except (IndexError, ValueError):
            words = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise DeployError(
                f"step {step} broke off: {words[-1][:300]}",
                where=self.link.target.host,
                next_step="look how it stands: make status",
            ) from None
        if isinstance(answer, dict) and "error" in answer:
            fault = answer["error"]
            raise DeployError(fault["what"], where=fault["where"], next_step=fault["next_step"])
        return answer


def install(link: Link) -> Tool:
    """Send the unit's side along, into memory; nothing on the card changes."""
    put = 'umask 077; mkdir -p "${1%/*}" && cat >"$1.new" && mv "$1.new" "$1"'
    done = link.run(["sh", "-c", put, "sh", REMOTE], packed())
    if done.returncode != 0:
        words = (done.stderr.decode(errors="replace").strip().splitlines() or ["?"])[-1]
        sudo = "sudo" in words
        raise DeployError(
            f"cannot work as root: {words}",
            where=link.target.host,
            next_step="let USER= use sudo without a password, or USER=root"
            if sudo
            else "check /run on the unit",
        )
    return Tool(link)
