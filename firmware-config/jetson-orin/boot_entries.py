#!/usr/bin/python3
"""Makes a unit's boot entries out of the one that its Jetson starts now: boot_entries.py [--write] [FILE]

Without --write it prints what the file would be. What JetPack wrote (root=, device tree, initrd, arguments
that differ between releases and boards) stays, and so do all other entries, to go back to. Two are added:

  unit         the root read-only, nothing on the serial console; started from now on
  maintenance  the same with a root that can be written, for apt and for changing files:
               mount -o remount,rw / && sed -i 's/^DEFAULT .*/DEFAULT maintenance/' FILE && reboot

Source of the format: NVIDIA, Jetson Linux Developer Guide, UEFI Adaptation; of the words: kernel.org,
kernel-parameters, and kernel-command-line(7) of systemd. Run again after JetPack has changed the file.
"""

import errno
import os
import re
import sys
from pathlib import Path

FILE = Path("/boot/extlinux/extlinux.conf")
OURS = ("unit", "maintenance")
SERIAL = re.compile(r"console=tty(TCU|AMA|S|THS)")
"""No messages on the pins of the header and the debug socket. Logins there: see the preset."""
ADDED = (
    "panic=10",  # a kernel that went wrong restarts after 10 s
    "init_on_free=1",  # R1: the kernel overwrites memory that is given back
    "systemd.swap=0",  # R1: swap that fstab names is ignored; nvzramconfig is switched off by the preset
)
MARK = "# edgeagent: made of "


def entries(text: str) -> dict[str, list[str]]:
    """From each label to its lines, the LABEL line first; "" has what stands before the first label."""
    found: dict[str, list[str]] = {"": []}
    label = ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["LABEL"] and len(words) == 2:
            label = words[1]
            found[label] = []
        found[label].append(line)
    return found


def made(text: str) -> str:
    """The file with our entries.

    Raises:
        ValueError: it is none that this program understands.
    """
    own = [line.removeprefix(MARK) for line in text.splitlines() if line.startswith(MARK)]
    text = "".join(f"{line}\n" for line in text.splitlines() if not line.startswith(MARK))
    there = {label: lines for label, lines in entries(text).items() if label not in OURS}
    default = re.search(r"^DEFAULT\s+(\S+)\s*$", "\n".join(there[""]), re.MULTILINE)
    if default is None:
        raise ValueError("has no line DEFAULT above its entries")
    source = default[1] if default[1] in there else (own or [""])[0]
    if default[1] in OURS and not own:
        raise ValueError(
            f"{default[1]} was not made by this program: first set DEFAULT to JetPack's own entry"
        )
    if not source or source not in there:
        raise ValueError(f"has no entry {source or default[1]}")
    if len([line for line in there[source] if line.split()[:1] == ["APPEND"]]) != 1:
        raise ValueError(f"{source} has no single line APPEND")
    head = [re.sub(r"^DEFAULT\s.*", "DEFAULT unit", line) for line in there.pop("")]
    new = [entry(name, there[source]) for name in OURS]
    parts = [trimmed(head), *([MARK + source, *lines] for lines in new), *map(trimmed, there.values())]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def entry(name: str, source: list[str]) -> list[str]:
    """The same kernel, device tree and initrd under another name, with our words."""
    meant = {"unit": "unit: read-only root", "maintenance": "maintenance: the root can be written"}[name]
    lines = []
    for line in trimmed(source):
        indent, word = line[: len(line) - len(line.lstrip())], line.split()[:1]
        if not word or word[0].startswith("#"):
            continue
        if word == ["LABEL"]:
            line = f"LABEL {name}"
        elif word == ["MENU"]:
            line = f"{indent}MENU LABEL {meant}"
        elif word == ["APPEND"]:
            line = f"{indent}APPEND {' '.join(arguments(name, line.split()[1:]))}"
        lines.append(line)
    return lines


def arguments(name: str, words: list[str]) -> list[str]:
    """The kernel's, in their order.

    Raises:
        ValueError: no root is named.
    """
    root = [word for word in words if word.startswith("root=")]
    if not root:
        raise ValueError("names no root=")
    ours = {"ro", "rw", "quiet", *ADDED}
    kept = [word for word in words if word not in ours and not SERIAL.match(word)]
    at = kept.index(root[0]) + 1
    kept.insert(at, "ro" if name == "unit" else "rw")
    return [*kept, *(["quiet"] if name == "unit" else []), *ADDED]


def trimmed(lines: list[str]) -> list[str]:
    """Without empty lines at the end."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def main() -> int:
    """Print or write; 2 if the file is none of ours to change."""
    words = [word for word in sys.argv[1:] if word != "--write"]
    if any(word.startswith("-") for word in words) or len(words) > 1:
        print(__doc__, file=sys.stderr)
        return 2
    file = Path(words[0]) if words else FILE
    kept = file.with_name(f"{file.name}.before-edgeagent")
    try:
        before = file.read_text()
        after = made(before)
        if "--write" not in sys.argv:
            print(after, end="")
            return 0
        if not kept.exists():
            replaced(kept, before)
        replaced(file, after)
    except (OSError, ValueError) as error:
        print(f"boot_entries.py: {file}: {error}; it is unchanged", file=sys.stderr)
        if getattr(error, "errno", None) == errno.EROFS:
            print("the root is read-only: mount -o remount,rw /", file=sys.stderr)
        return 2
    print(f"{file}: starts `unit` from now on; what it was at first: {kept}")
    return 0


def replaced(file: Path, text: str) -> None:
    """Whole or not at all, whenever the plug is pulled."""
    whole = file.with_name(f".{file.name}.new")
    with whole.open("w") as writing:
        writing.write(text)
        writing.flush()
        os.fsync(writing.fileno())
    whole.replace(file)
    os.sync()


if __name__ == "__main__":
    sys.exit(main())
