"""Deployment without a unit: what is refused at the desk, what is rendered, and links that turn back."""

from __future__ import annotations

import hashlib
import importlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TOML = """\
[unit]
name = "unit-07"
key = "unit.key"
[trust]
store = "trust.json"
root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
[documents]
authority = "documents/authority.json"
watchlist = "documents/watchlist.edgelist"
[data]
folder = "/var/lib/edgeagent"
[camera]
source = "v4l2:/dev/video0"
[broker]
host = "broker.van.example"
through = "/run/edgeagent-broker"
ca = "tls/ca.crt"
certificate = "tls/unit-07.crt"
key = "tls/unit-07.key"
"""
FACTS: dict[str, Any] = {
    "arch": "amd64",
    "python": "3.11",
    "systemd": "252",
    "missing": [],
    "free": {"/opt": 1 << 33, "/var/lib/edgeagent-deploy": 1 << 33},
    "service": {},
    "from": "192.0.2.9 4711 192.0.2.7 2222",
}


@pytest.fixture(scope="module", autouse=True)
def _deploy_on_path() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "deploy"))
    yield
    sys.path.remove(str(ROOT / "deploy"))


def unit(name: str) -> ModuleType:
    """A module of deploy/unit."""
    return importlib.import_module(f"unit.{name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A unit's folder as it should be."""
    made = tmp_path / "unit-07"
    (made / "tls").mkdir(parents=True)
    (made / "edgeagent.toml").write_text(TOML)
    (made / "network.toml").write_text('technicians = ["192.0.2.0/24"]\nclocks = ["192.0.2.5"]\n')
    for name in ("trust.json", "tls/ca.crt", "tls/unit-07.crt"):
        (made / name).write_text(name)
    return made


# --- the desk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["-oProxyCommand=touch /tmp/x", "a b", "a;b", "", "$(x)", "a\nb", "`x`"])
def test_a_host_that_is_no_name_is_refused_before_ssh_sees_it(host: str) -> None:
    with pytest.raises(unit("faults").FolderError):
        unit("link").Target(host)


def test_ssh_is_strict_and_a_command_is_quoted(tmp_path: Path) -> None:
    target = unit("link").Target("unit-07", user="tech")
    options = target.options()
    assert "-oStrictHostKeyChecking=yes" in options
    assert "-oBatchMode=yes" in options
    link = unit("link").Link(target, tmp_path / "s")
    call = link._call([], ["python3", "a b", "$(x)"])
    assert call[-3:] == ["--", "unit-07", "sudo -n python3 'a b' '$(x)'"]


def test_only_what_the_configuration_names_travels(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    found = unit("folder").read_folder(folder)
    assert sorted(found.files) == [
        "edgeagent.toml",
        "network.toml",
        "tls/ca.crt",
        "tls/unit-07.crt",
        "trust.json",
    ]
    assert found.left == ["notes.txt"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "edgeagent.toml").unlink(), "there is no edgeagent.toml"),
        (lambda f: (f / "network.toml").unlink(), "is missing"),
        (lambda f: (f / "network.toml").write_text("technician = []"), "unknown key technician"),
        (lambda f: (f / "network.toml").write_text("clocks = []"), "technicians is missing"),
        (lambda f: (f / "edgeagent.toml").write_text(TOML.replace("through", "thru")), "unknown key"),
        (lambda f: (f / "edgeagent.toml").write_text(TOML.replace("/run/edgeagent-b", "/run/b")), "must be"),
        (lambda f: (f / "edgeagent.toml").write_text(TOML.replace("/var/lib/edgeagent", "d")), "must be"),
        (lambda f: (f / "my.pem").write_text("-----BEGIN EC PRIVATE KEY-----"), "is a private key"),
        (lambda f: (f / "tls/k.json").write_text('{"sign_d": "x"}'), "is a private key"),
    ],
)
def test_a_folder_that_cannot_work_is_refused_by_name(folder: Path, change: Any, words: str) -> None:
    change(folder)
    with pytest.raises(unit("faults").FolderError, match=words):
        unit("folder").read_folder(folder)


def test_the_unit_computes_the_same_name_for_a_configuration(folder: Path, tmp_path: Path) -> None:
    found = unit("folder").read_folder(folder)
    content, name = unit("folder").archive(found.files)
    (tmp_path / "a.tar").write_bytes(content)
    unit("on_unit.stage")._extract(tmp_path / "a.tar", tmp_path / "out")
    assert unit("on_unit.stage").identify(tmp_path / "out") == name


def test_the_filter_holds_the_addresses_and_nothing_else_fits_in() -> None:
    render = unit("firewall").render
    text = render(["192.0.2.10"], 8883, ["192.0.2.5"], ["192.0.2.0/24"], 2222).decode()
    for elements in ("192.0.2.10 . 8883", "192.0.2.5", "192.0.2.0/24", "2222"):
        assert f"elements = {{ {elements} }}" in text
    for bad in ("192.0.2.300", "::1", "1.2.3.4 }; accept; #", "unit-07"):
        with pytest.raises(unit("faults").FolderError):
            render([bad], 8883, [], [], 22)


def test_nft_takes_the_filter() -> None:
    nft = shutil.which("nft")
    if nft is None:
        pytest.skip("nft is not installed")
    text = unit("firewall").render(["192.0.2.10"], 8883, ["192.0.2.5"], ["192.0.2.0/24"], 22)
    alone = ["unshare", "--net", nft, "-c", "-f", "-"]
    done = subprocess.run(alone, input=text, capture_output=True, check=False)
    if b"Operation not permitted" in done.stderr:
        pytest.skip("no privilege for a network namespace of one's own")
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("change", "offset", "words"),
    [
        ({"arch": "armhf"}, 0.0, "is armhf"),
        ({"python": "3.9"}, 0.0, "has Python 3.9"),
        ({"systemd": "247"}, 0.0, "has systemd 247"),
        ({"missing": ["nft"]}, 0.0, "lacks nft"),
        ({"free": {"/opt": -1, "/var/lib/edgeagent-deploy": 1}}, 0.0, "read-only root"),
        ({"service": {"StatusText": "LIVE [R16]"}}, 0.0, "is LIVE"),
        ({}, 3600.0, "clock that is \\+3600 s"),
        ({}, -3600.0, "clock that is -3600 s"),
    ],
)
def test_a_unit_that_is_not_fit_is_left_alone(change: dict[str, Any], offset: float, words: str) -> None:
    with pytest.raises(unit("faults").DeployError, match=words):
        unit("preflight").fit({**FACTS, **change}, offset)


def test_a_fit_unit_is_accepted_and_the_port_of_its_ssh_is_found() -> None:
    unit("preflight").fit(FACTS, 1.0)
    assert unit("preflight").reachable(FACTS, ["192.0.2.0/24"]) == 2222
    with pytest.raises(unit("faults").DeployError, match="you would be locked out"):
        unit("preflight").reachable(FACTS, ["198.51.100.0/24"])


def test_what_changed_names_keys_and_never_values() -> None:
    after = TOML.replace("broker.van", "secret.van") + '[models]\nfolder = "m"\n'
    changed = unit("say").changed_keys(TOML, after.encode())
    assert sorted(changed) == ["+models.folder", "~broker.host"]


def test_the_units_side_is_the_same_bytes_each_time_and_needs_no_library() -> None:
    packed = unit("tool").packed()
    assert packed == unit("tool").packed()
    names = zipfile.ZipFile(BytesIO(packed)).namelist()
    assert "unit/on_unit/cli.py" in names
    sources = sorted((ROOT / "deploy/unit/on_unit").glob("*.py"))
    assert not [file.name for file in sources if "from edgeagent" in file.read_text()]


# --- the unit's side: links that go over, and back ----------------------------------------------------------


def release(places: Any, name: str, service: str = "x") -> None:
    system = places.release(name) / "system/lib/systemd/system"
    system.mkdir(parents=True)
    (system / "edgeagent.service").write_text(f"{service}\n[Install]\nWantedBy=multi-user.target\n")


def config(places: Any, name: str, **files: str) -> None:
    folder = places.versions / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(text)


def seen(places: Any) -> dict[str, str]:
    """Every link and file of the unit's root outside releases and versions."""
    found = {}
    for path in sorted(places.root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(places.root))] = str(path.readlink())
    return found


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A unit's root with one release and one configuration in use."""
    pending = unit("on_unit.pending")
    made = unit("on_unit.places").Places(tmp_path / "root")
    for folder in (made.run, made.state, made.systemd, made.versions):
        folder.mkdir(parents=True)
    (made.run / "tool.pyz").write_bytes(b"tool")
    release(made, "1")
    config(made, "one", a="1", b="1")
    links = unit("on_unit.links")
    durable = unit("on_unit.durable")
    links.put(links.system_links(made, "1") | links.config_links(made, "one"))
    durable.flip(made.program, "edgeagent-1")
    durable.flip(made.current, "versions/one")
    monkeypatch.setattr(pending, "systemctl", lambda *_: subprocess.CompletedProcess([], 0, "", ""))
    monkeypatch.setattr(pending, "load_firewall", lambda _: "")
    return made


@pytest.mark.parametrize("moves", range(6))
def test_a_switch_that_was_cut_off_anywhere_is_turned_back(places: Any, moves: int) -> None:
    pending, links, durable = unit("on_unit.pending"), unit("on_unit.links"), unit("on_unit.durable")
    release(places, "2")
    (places.release("2") / "system/lib/systemd/system/edgeagent-new.service").write_text("")
    config(places, "two", a="2", c="2")
    before = seen(places)
    wanted = links.system_links(places, "2") | links.config_links(places, "two")
    pending.begin(places, "t", wanted)
    steps = [(link, target) for link, target in wanted.items()]
    steps += [(places.program, "edgeagent-2"), (places.current, "versions/two")]
    for link, target in steps[: moves if moves < 5 else None]:
        link.parent.mkdir(parents=True, exist_ok=True)
        durable.flip(link, target)
    assert "edgeagent-1" in pending.recover(places, booting=True)
    after = {name: target for name, target in seen(places).items() if "edgeagent-recover" not in name}
    assert after == before
    assert pending.recover(places, booting=True) == "nothing to do"


def test_files_that_somebody_put_there_become_a_version_to_go_back_to(places: Any, monkeypatch: Any) -> None:
    links = unit("on_unit.links")
    monkeypatch.setattr(shutil, "chown", lambda *_: None)
    for name in ("a", "d"):
        (places.etc / name).unlink(missing_ok=True)
        (places.etc / name).write_text("by hand")
    links.adopt(places, [places.etc / "a", places.etc / "d"])
    assert places.current.readlink().name.startswith("found-")
    assert {name: (places.etc / name).read_text() for name in "abd"} == {
        "a": "by hand",
        "b": "1",
        "d": "by hand",
    }
    assert all((places.etc / name).is_symlink() for name in "abd")


def test_links_to_what_is_gone_are_tidied(places: Any) -> None:
    durable = unit("on_unit.durable")
    config(places, "two", a="2")
    durable.flip(places.current, "versions/two")
    unit("on_unit.links").tidy(places)
    assert not (places.etc / "b").is_symlink()
    assert (places.etc / "a").read_text() == "2"


def test_a_release_with_one_altered_byte_is_removed_and_named(places: Any) -> None:
    home = places.release("x")
    home.mkdir()
    (home / "program").write_text("good")
    listed = f"{hashlib.sha256(b'good').hexdigest()}  program\n"
    (home / "files.sha256").write_text(listed)
    name = "0.1-" + hashlib.sha256(listed.encode()).hexdigest()[:8]
    home = home.rename(places.release(name))
    unit("on_unit.stage").verify(home, name)
    (home / "program").write_text("gooe")
    with pytest.raises(unit("on_unit.places").UnitError, match="not what was written"):
        unit("on_unit.stage").verify(home, name)
    assert not home.exists()


def test_a_configuration_that_was_changed_on_the_unit_is_not_deleted(places: Any) -> None:
    stage, there = unit("on_unit.stage"), unit("on_unit.places")
    config(places, "0123456789ab", **{"edgeagent.toml": "changed by hand"})
    places.current.unlink(missing_ok=True)
    places.current.symlink_to("versions/0123456789ab")
    with pytest.raises(there.UnitError, match="was changed on the unit"):
        stage.unpack_config(places, "no such archive", "0123456789ab")
    assert (places.versions / "0123456789ab" / "edgeagent.toml").read_text() == "changed by hand"
