"""The configuration files: every mistake is named with file, key and remedy; nothing is guessed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.config import CONFIG_LIMIT, load_config, load_desk_config
from edgeagent.errors import ConfigError, EdgeAgentError, SafeguardError

Table = dict[str, dict[str, object]]
UNIT: Table = {
    "unit": {"name": "unit-1", "key": "keys/unit.key"},
    "trust": {"store": "trust.json", "root": "a" * 43},
    "documents": {"authority": "authority.json", "watchlist": "list.edgelist"},
    "data": {"folder": "/var/lib/edgeagent"},
    "camera": {"source": "v4l2:/dev/video0"},
    "broker": {"host": "broker.example", "ca": "ca.pem", "certificate": "unit.pem", "key": "unit-tls.key"},
}
DESK: Table = {
    "desk": {"name": "desk-1", "key": "desk.key", "data": "desk-data"},
    "trust": UNIT["trust"],
    "broker": UNIT["broker"],
}


def toml(table: Table) -> str:
    """The table as TOML; values are strings, whole numbers or truth values."""

    def value(held: object) -> str:
        return str(held).lower() if isinstance(held, bool) else repr(held).replace("'", '"')

    sections = (
        f"[{section}]\n" + "".join(f"{key} = {value(held)}\n" for key, held in keys.items())
        for section, keys in table.items()
    )
    return "\n".join(sections)


def changed(section: str, key: str, held: object, table: Table) -> Table:
    return {**table, section: {**table.get(section, {}), key: held}}


def without(section: str, key: str, table: Table) -> Table:
    return {**table, section: {name: held for name, held in table[section].items() if name != key}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "edgeagent.toml"


def refusal_of(file: Path, text: str) -> ConfigError:
    file.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        load_config(file)
    assert str(file) in refusal.value.where
    assert refusal.value.next_step
    return refusal.value


def test_a_good_file(file: Path) -> None:
    file.write_text(toml(UNIT))
    config = load_config(file)
    assert config.unit.name == "unit-1"
    assert config.source.target == "/dev/video0"
    assert config.documents.certificate is None
    assert config.broker.port == 8883


def test_a_good_desk_file(file: Path) -> None:
    file.write_text(toml(DESK))
    config = load_desk_config(file)
    assert config.path(config.desk.data) == file.parent / "desk-data"


def test_faces_are_near_unless_the_file_says_far(file: Path) -> None:
    file.write_text(toml(UNIT))
    assert load_config(file).camera.scene == "near"
    file.write_text(toml(changed("camera", "scene", "far", UNIT)))
    assert load_config(file).camera.scene == "far"


def test_relative_paths_are_seen_from_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from where the program was started, also when the file itself was named relatively."""
    file.write_text(toml(UNIT))
    monkeypatch.chdir(file.parent)
    config = load_config(Path(file.name))
    monkeypatch.chdir("/")
    assert config.path(config.unit.key) == file.parent / "keys/unit.key"
    assert config.path(config.data.folder) == Path("/var/lib/edgeagent")


MISSPELT = [
    ("camera", "sorce", "source"),
    ("camera", "widht", "width"),
    ("broker", "prot", "port"),
    ("unit", "nmae", "name"),
    ("trust", "rot", "root"),
    ("documents", "watchlists", "watchlist"),
]


@pytest.mark.parametrize(("section", "key", "meant"), MISSPELT)
def test_a_misspelt_key_is_met_with_the_right_one(section: str, key: str, meant: str, file: Path) -> None:
    refusal = refusal_of(file, toml(changed(section, key, "x", UNIT)))
    assert refusal.where.endswith(f"{section}.{key}")
    assert refusal.what == "unknown key"
    assert refusal.next_step == f"did you mean {meant}?"


def test_an_unknown_key_that_resembles_none(file: Path) -> None:
    refusal = refusal_of(file, toml(changed("camera", "zzz", 1, UNIT)))
    assert refusal.next_step == "remove it; known keys: fps, height, scene, source, width"


def test_an_unknown_section(file: Path) -> None:
    refusal = refusal_of(file, toml({**UNIT, "brokers": {"host": "x"}}))
    assert refusal.where.endswith(": brokers")
    assert refusal.next_step == "did you mean broker?"


FORBIDDEN = [
    ("camera", "threshold"),
    ("unit", "threshold"),
    ("camera", "record"),
    ("data", "retention"),
    ("broker", "tls"),
    ("broker", "insecure"),
    ("trust", "verify"),
    ("unit", "lease_s"),
]


@pytest.mark.parametrize(("section", "key"), FORBIDDEN)
def test_no_line_can_weaken_a_safeguard(section: str, key: str, file: Path) -> None:
    """What rules depend on is in signed documents; the file has no key for it."""
    assert refusal_of(file, toml(changed(section, key, False, UNIT))).what == "unknown key"


REQUIRED = [(section, key) for section, keys in UNIT.items() for key in keys]


@pytest.mark.parametrize(("section", "key"), REQUIRED)
def test_a_missing_key_is_named(section: str, key: str, file: Path) -> None:
    refusal = refusal_of(file, toml(without(section, key, UNIT)))
    assert refusal.where.endswith(f"{section}.{key}")
    assert (refusal.what, refusal.next_step) == ("is missing", "add it")


@pytest.mark.parametrize("section", UNIT)
def test_a_missing_section_is_named(section: str, file: Path) -> None:
    refusal = refusal_of(file, toml({name: keys for name, keys in UNIT.items() if name != section}))
    assert refusal.where.endswith(f": {section}")
    assert refusal.what == "is missing"


IMPOSSIBLE = [
    ("unit", "name", 7),
    ("unit", "name", "Unit 1"),
    ("unit", "name", "../unit"),
    ("unit", "key", ""),
    ("trust", "root", "too short"),
    ("camera", "source", 0),
    ("camera", "source", ""),
    ("camera", "width", "1280"),
    ("camera", "width", 12),
    ("camera", "height", 99_999),
    ("camera", "fps", 0),
    ("camera", "fps", True),
    ("camera", "scene", "middle"),
    ("camera", "scene", ""),
    ("broker", "port", 0),
    ("broker", "port", 65_536),
    ("broker", "port", "8883"),
    ("broker", "host", ""),
    ("documents", "certificate", False),
]


@pytest.mark.parametrize(("section", "key", "held"), IMPOSSIBLE)
def test_an_impossible_value_is_named(section: str, key: str, held: object, file: Path) -> None:
    refusal = refusal_of(file, toml(changed(section, key, held, UNIT)))
    assert refusal.where.endswith(f"{section}.{key}")
    assert refusal.next_step == "correct the value"


def test_a_section_that_is_no_section(file: Path) -> None:
    text = 'camera = "v4l2:/dev/video0"\n' + toml({k: v for k, v in UNIT.items() if k != "camera"})
    assert refusal_of(file, text).where.endswith(": camera")


@pytest.mark.parametrize(
    "content", [b"[unit", b"unit = ", b"\xff\xfe[unit]", b"[unit]\n[unit]\n", b"a b = 1"]
)
def test_what_is_not_toml(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is not TOML") as refusal:
        load_config(file)
    assert refusal.value.where == str(file)
    assert refusal.value.next_step == "correct that line"


def test_files_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_config(file)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(file.parent)
    file.write_bytes(b"")
    with pytest.raises(ConfigError, match="is empty"):
        load_config(file)
    file.write_bytes(b"#" * (CONFIG_LIMIT + 1))
    with pytest.raises(ConfigError, match="is longer than"):
        load_config(file)


def test_the_file_key_cannot_be_set_from_the_file(file: Path) -> None:
    """It says where relative paths start, so no line may move it."""
    file.write_text('file = "/etc/elsewhere"\n' + toml(UNIT))
    with pytest.raises(ConfigError, match="unknown key") as refusal:
        load_config(file)
    assert refusal.value.where == f"{file}: file"


@given(st.text(max_size=200))
def test_no_text_at_all_gets_further_than_a_named_error(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "edgeagent.toml")
        file.write_text(text, encoding="utf-8", errors="surrogatepass")
        with pytest.raises((ConfigError, SafeguardError)) as refusal:
            load_config(file)
        assert isinstance(refusal.value, EdgeAgentError)
