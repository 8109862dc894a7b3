"""Deployment without a unit: what is refused at the desk, what is rendered, and links that turn back."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
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
    "forgets": False,
    "image": False,
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


def linked_key(folder: Path, name: str) -> None:
    """A private key elsewhere on the desk, and in the unit's folder a link to it, or to where it lies."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "unit.key").write_text("-----BEGIN PRIVATE KEY-----")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(elsewhere / "unit.key" if name.endswith(".json") else elsewhere)


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
        (lambda f: (f / "trust.json").write_text(" " * (1 << 20) + '"seal_d"'), "is a private key"),
        (lambda f: linked_key(f, "keys"), "is a link to a folder"),
        (lambda f: linked_key(f, "tls/old"), "is a link to a folder"),
        (lambda f: linked_key(f, "trust.json"), "is a private key"),
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


def test_the_time_service_asks_whom_the_filter_lets_out_to_and_nobody_else() -> None:
    """Debian's own pool is a name, and no name server is let out to."""
    text = unit("firewall").timesyncd_conf(["192.0.2.5", "192.0.2.6"]).decode()
    assert text.splitlines()[1:] == ["[Time]", "NTP=", "NTP=192.0.2.5 192.0.2.6", "FallbackNTP="]
    for bad in ("192.0.2.0/24", "time.example.org", "192.0.2.5\nFallbackNTP=192.0.2.99"):
        with pytest.raises(unit("faults").FolderError):
            unit("firewall").timesyncd_conf([bad])


@pytest.mark.parametrize(
    ("said", "read", "told"),
    [
        (
            "[Time]\n",
            None,
            [("restart", "edgeagent-clocks.service"), ("try-restart", "systemd-timesyncd.service")],
        ),
        ("[Time]\n", "[Time]\n", []),
        (
            None,
            "[Time]\n",
            [("stop", "edgeagent-clocks.service"), ("try-restart", "systemd-timesyncd.service")],
        ),
        (None, None, []),
    ],
    ids=["new", "the same", "gone", "never"],
)
def test_the_time_service_is_disturbed_only_if_its_servers_change(
    places: Any,
    monkeypatch: pytest.MonkeyPatch,
    said: str | None,
    read: str | None,
    told: list[tuple[str, ...]],
) -> None:
    daemon = Daemon(["LOCKED"])
    monkeypatch.setattr(unit("on_unit.service"), "systemctl", daemon.systemctl)
    for file, content in (
        (places.etc / "timesyncd.conf", said),
        (places.root / "run/systemd/timesyncd.conf.d/edgeagent.conf", read),
    ):
        if content is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
    assert unit("on_unit.service").load_clocks(places) == ""
    assert daemon.told == told
    # Where an older release runs again, systemd no longer knows how to stop the service that laid it there.
    assert said is not None or not (places.root / "run/systemd/timesyncd.conf.d/edgeagent.conf").exists()


def test_a_filter_of_which_systemd_no_longer_knows_is_taken_out(
    places: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a first deployment that went back: a filter that locks technicians out must not stay."""
    service, calls = unit("on_unit.service"), tmp_path / "calls"
    nft = tmp_path / "nft"
    tables = '{"nftables": [{"table": {"name": "edgeagent"}}]}'
    nft.write_text(f"#!/bin/sh\necho \"$@\" >>{calls}\necho '{tables}'\n")
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(service, "systemctl", Daemon(["LOCKED"]).systemctl)
    assert service.load_firewall(places.etc / "nftables.conf") == ""
    assert calls.read_text().splitlines()[-1] == "delete table inet edgeagent"


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
        ({"image": True, "free": {"/opt": -1}}, 0.0, "runs an image"),
        ({"free": {"/opt": -1, "/var/lib/edgeagent-deploy": 1}}, 0.0, "read-only root"),
        ({"forgets": True}, 0.0, "overlay in memory"),
        ({"service": {"StatusText": "LIVE [R16]", "ActiveState": "active"}}, 0.0, "is LIVE"),
        ({}, 3600.0, "clock that is \\+3600 s"),
        ({}, -3600.0, "clock that is -3600 s"),
    ],
)
def test_a_unit_that_is_not_fit_is_left_alone(change: dict[str, Any], offset: float, words: str) -> None:
    with pytest.raises(unit("faults").DeployError, match=words):
        unit("preflight").fit({**FACTS, **change}, offset)


def test_a_root_under_an_overlay_in_memory_is_recognised(tmp_path: Path) -> None:
    """A real one, as overlayroot makes it: what were installed there would be gone after the next start."""
    memory, root = tmp_path / "memory", tmp_path / "root"
    for made in (memory, root, tmp_path / "card"):
        made.mkdir()
    asked = "import sys, pathlib; from unit.on_unit.facts import _forgets; "
    asked += "print([_forgets(pathlib.Path(path)) for path in sys.argv[1:]])"
    script = f"""set -e
        mount -t tmpfs none {memory}
        mkdir {memory}/upper {memory}/work
        mount -t overlay none -o lowerdir={tmp_path}/card,upperdir={memory}/upper,workdir={memory}/work {root}
        exec {sys.executable} -c "{asked}" {root} {root}/opt/not/yet {tmp_path}/card {memory}"""
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, cwd=ROOT / "deploy"
    )
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"no privilege for an overlay: {done.stderr}")
    assert done.stdout == "[True, True, False, False]\n", done.stderr


def test_an_invitation_in_the_folder_travels_so_that_enrolment_can_begin(folder: Path) -> None:
    assert "enrolment.toml" not in unit("folder").read_folder(folder).files
    (folder / "enrolment.toml").write_text("told")
    read = unit("folder").read_folder(folder)
    assert read.files["enrolment.toml"] == b"told"
    assert read.left == []


def test_the_last_words_of_a_daemon_that_is_down_do_not_count_as_live() -> None:
    """Else a unit whose daemon died in use could never be repaired by a deployment."""
    service = {"StatusText": "LIVE [R16]", "ActiveState": "failed"}
    unit("preflight").fit({**FACTS, "service": service}, 0.0)


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


@pytest.mark.parametrize(
    ("phases", "waits"),
    [
        (["switching", "new-connection", "new-connection", "done"], 1),
        (["new-connection", "done"], 1),
        (["switching", "going-back", "done"], 0),
        (["done"], 0),
    ],
)
def test_the_last_step_is_said_once_however_quick_the_unit_is(
    phases: list[str], waits: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(unit("deploy"), "POLL_S", 0.0)
    seen_at, told = iter(phases), []

    class Tool:
        def ask(self, _: str) -> dict[str, str]:
            return {"transaction": "t", "phase": next(seen_at)}

        def confirm(self, transaction: str) -> bool:
            told.append(transaction)
            return True

    assert unit("deploy")._watch(Tool(), "t", unit("say").Steps())["phase"] == "done"
    assert capsys.readouterr().out.count("waiting for READY") == waits
    assert told == ["t"] * waits


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


# --- what is looked at again at the last moment -------------------------------------------------------------


@dataclass
class Daemon:
    """The unit's service manager, of which only the daemon's word matters here."""

    says: list[str]
    told: list[tuple[str, ...]] = field(default_factory=list)

    def shown(self, _: str = "") -> dict[str, str]:
        text = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        return {"ActiveState": "active", "MainPID": "1", "StatusText": text, "Result": "success"}

    def systemctl(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        self.told.append(arguments)
        return subprocess.CompletedProcess(arguments, 0, "", "")

    def disturbed(self) -> list[tuple[str, ...]]:
        """What reached the daemon or its way to the broker."""
        verbs = ("restart", "try-restart", "stop", "start")
        return [call for call in self.told if call[0] in verbs and any("journald" not in c for c in call[1:])]


@pytest.fixture
def enrolled(places: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A unit that has its keys, with a second release and configuration beside those in use."""
    release(places, "2")
    for name in ("unit.key", "tls/unit-07.key"):
        (places.etc / name).parent.mkdir(exist_ok=True)
        (places.etc / name).write_text("a private key")
    config(places, "old", **{"edgeagent.toml": TOML})
    config(places, "new", **{"edgeagent.toml": TOML.replace("van", "station")})
    links, durable = unit("on_unit.links"), unit("on_unit.durable")
    links.put(links.config_links(places, "old"))
    durable.flip(places.current, "versions/old")
    links.tidy(places)
    switch = unit("on_unit.switch")
    monkeypatch.setattr(switch, "HEALTHY_S", 0.1)
    monkeypatch.setattr(switch, "load_firewall", lambda _: "")
    return places


def served(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("switch", "service", "pending", "remove"):
        for name in ("shown", "systemctl"):
            monkeypatch.setattr(unit(f"on_unit.{module}"), name, getattr(daemon, name), raising=False)


def progress(places: Any) -> dict[str, Any]:
    return dict(json.loads((places.run / "progress.json").read_bytes()))


@pytest.mark.parametrize(
    ("says", "outcome"),
    [(["LIVE [R16]"], "not begun"), (["STANDBY [R16]", "LIVE [R16]"], "rolled back")],
    ids=["since it was looked at first", "in the middle of the switch"],
)
def test_a_unit_that_went_live_meanwhile_is_not_disturbed(
    enrolled: Any, monkeypatch: pytest.MonkeyPatch, says: list[str], outcome: str
) -> None:
    daemon, before = Daemon(says), seen(enrolled)
    served(daemon, monkeypatch)
    unit("on_unit.switch").switch(enrolled, "2", "new", "t")
    said = progress(enrolled)
    assert (said["phase"], said["outcome"]) == ("done", outcome)
    assert "is LIVE" in said["reason"]
    assert daemon.disturbed() == []
    assert not enrolled.pending.exists()
    assert {name: to for name, to in seen(enrolled).items() if "recover" not in name} == before


def test_a_unit_in_standby_is_switched(enrolled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same unit and the same switch as above, to show that nothing else refuses there."""
    daemon = Daemon(["STANDBY [R16]"])
    served(daemon, monkeypatch)
    unit("on_unit.switch").confirm(enrolled, "t")
    unit("on_unit.switch").switch(enrolled, "2", "new", "t")
    assert progress(enrolled)["outcome"] == "ready", progress(enrolled)
    assert ("restart", "edgeagent.service") in daemon.told
    assert enrolled.program.readlink().name == "edgeagent-2"


def test_a_live_unit_keeps_its_program(enrolled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon, before = Daemon(["LIVE [R16]"]), seen(enrolled)
    served(daemon, monkeypatch)
    with pytest.raises(unit("on_unit.places").UnitError, match="is LIVE"):
        unit("on_unit.remove").remove(enrolled)
    assert daemon.told == []
    assert seen(enrolled) == before


@pytest.mark.parametrize("wrong", ["unit-7.key", "/run/credentials/edgeagent.service/unit.key"])
def test_a_wrong_path_of_a_key_does_not_stop_an_enrolled_unit(
    enrolled: Any, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    config(enrolled, "wrong", **{"edgeagent.toml": TOML.replace('"unit.key"', f'"{wrong}"')})
    refused = unit("on_unit.places").UnitError
    with pytest.raises(
        refused, match=rf"unit\.key = {re.escape(wrong)}; it has .*/etc/edgeagent/unit\.key \(file\)"
    ):
        unit("on_unit.check").check(enrolled, "2", "wrong")
    daemon = Daemon(["STANDBY [R16]"])
    served(daemon, monkeypatch)
    unit("on_unit.switch").switch(enrolled, "2", "wrong", "t")
    assert progress(enrolled)["outcome"] == "not begun"
    assert daemon.disturbed() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: None, True),
        (lambda p: (p.etc / "tls/unit-07.key").unlink(), False),
        (lambda p: (p.etc / "edgeagent.toml").unlink(), False),
        (lambda p: state(p, '{"stage": "enrolled"}'), True),
        (lambda p: state(p, '{"stage": "requested"}'), False),
        (lambda p: state(p, "{"), False),
        (lambda p: state(p, "[]"), False),
    ],
    ids=["keys there", "half", "no configuration", "enrol finished", "enrol begun", "damaged", "strange"],
)
def test_a_unit_is_enrolled_when_it_has_what_it_runs_with(enrolled: Any, change: Any, expected: bool) -> None:
    change(enrolled)
    assert unit("on_unit.keys").enrolled(enrolled) is expected


def state(places: Any, text: str) -> None:
    """How far an enrolment is, on a unit whose configuration finds no key."""
    (places.etc / "unit.key").unlink()
    places.staging.mkdir()
    (places.staging / "state.json").write_text(text)


def test_what_undeploy_leaves_is_named_with_how_it_goes(enrolled: Any) -> None:
    for name in ("credentials/unit.key", "enrolment/tls.key"):
        (enrolled.etc / name).parent.mkdir(exist_ok=True)
        (enrolled.etc / name).write_text("a private key")
    for name in ("deployment-keys/market-1.key", "audit/audit-000001.jsonl"):
        (enrolled.data / name).parent.mkdir(parents=True)
        (enrolled.data / name).write_text("x")
    found = unit("on_unit.remove").stays(enrolled)
    said = "\n".join(unit("say").left_behind("unit-07", found))
    for path, kind in (
        ("/etc/edgeagent/credentials/unit.key", "sealed"),
        ("/etc/edgeagent/enrolment/tls.key", "of an enrolment"),
        ("/etc/edgeagent/unit.key", "file"),
        ("/etc/edgeagent/tls/unit-07.key", "file"),
        ("/var/lib/edgeagent/deployment-keys/market-1.key", "of a deployment"),
    ):
        assert f"private key  {path} ({kind})" in said
    order = ("scp -r root@unit-07:/var/lib/edgeagent/audit", "revoke", "shred -u", "destroy the card")
    found_at = [said.index(words) for words in order]
    assert found_at == sorted(found_at)


def test_how_what_is_left_goes_is_a_command_that_does_it(enrolled: Any) -> None:
    (enrolled.data / "audit").mkdir(parents=True)
    (enrolled.data / "audit/audit-000001.jsonl").write_text("x")
    lines = unit("say").left_behind("unit-07", unit("on_unit.remove").stays(enrolled))
    command = next(line for line in lines if "shred" in line).split("on the unit: ")[1]
    for path in ("/etc/edgeagent", "/var/lib/edgeagent"):
        command = command.replace(f" {path}", f" {enrolled.root}{path}")
    subprocess.run(["sh", "-ec", command], check=True)
    assert not enrolled.etc.exists()
    assert not enrolled.data.exists()


def test_a_unit_with_nothing_on_it_is_said_to_have_nothing(tmp_path: Path) -> None:
    empty = unit("on_unit.places").Places(tmp_path)
    assert unit("say").left_behind("u", unit("on_unit.remove").stays(empty)) == [
        "no file of edgeagent's is left on it"
    ]


# --- what travels of a package ------------------------------------------------------------------------------


def built(folder: Path, name: str, **files: str) -> Any:
    """A package with these files, as make_deb.py lays it out."""
    home = folder / name / "opt" / "home"
    (home / "bin").mkdir(parents=True)
    for path, text in files.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    (home / "bin/python3").symlink_to("/usr/bin/python3")
    (home / "bin/script").write_text("#!/bin/sh")
    (home / "bin/script").chmod(0o755)
    there = sorted(path for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    listed = "".join(f"{digest_of(each)}  {each.relative_to(home)}\n" for each in there)
    (home / "files.sha256").write_text(listed)
    made = f"{name}-{hashlib.sha256(listed.encode()).hexdigest()[:8]}"
    home.rename(home.with_name(f"edgeagent-{made}"))
    control = folder / name / "DEBIAN/control"
    control.parent.mkdir()
    fields = {
        "Package": "edgeagent",
        "Version": "1",
        "Architecture": "all",
        "Maintainer": "x <x@example.org>",
    }
    fields |= {"Depends": "python3 (>= 3.11)", "Installed-Size": "1", "Edgeagent-Release": made}
    control.write_text("".join(f"{key}: {value}\n" for key, value in fields.items()) + "Description: x\n")
    file = folder / f"{name}.deb"
    call = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(folder / name), str(file)]
    subprocess.run(call, check=True, capture_output=True)
    return unit("package").inspect(file)


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class OnUnit:
    """The unit's side without a connection."""

    def __init__(self, places: Any) -> None:
        self.places = places

    def ask(self, step: str, *, content: bytes) -> Any:
        assert step == "lacks"
        return unit("on_unit.parcel").lacks(self.places, content)


@dataclass
class Travel:
    """A unit on which one package runs already."""

    places: Any
    folder: Path

    def facts(self) -> dict[str, Any]:
        return {"release": "any", "releases": [], "incoming": []}

    def cargo(self, package: Any) -> Any:
        return unit("parcel").cargo(OnUnit(self.places), self.facts(), package, self.folder)

    def arrives(self, package: Any) -> Path:
        """Send it, unpack it; the release's folder, every file of which was compared with the list."""
        goods = self.cargo(package)
        self.places.incoming.mkdir(exist_ok=True)
        shutil.copyfile(goods.file, self.places.incoming / goods.name)
        unit("on_unit.stage").unpack_program(self.places, goods.name, package.release)
        return Path(self.places.release(package.release))


@pytest.fixture
def travel(tmp_path: Path) -> Travel:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    made = unit("on_unit.places").Places(tmp_path / "root")
    for folder in (made.opt, made.state):
        folder.mkdir(parents=True)
    first = built(tmp_path, "first", library="x" * 200_000, program="1", **{"lib/same": "s", "lib/copy": "s"})
    shutil.copyfile(first.file, made.state / "first.deb")
    made.incoming.mkdir()
    shutil.copyfile(first.file, made.incoming / "first.deb")
    unit("on_unit.stage").unpack_program(made, "first.deb", first.release)
    made.program.symlink_to(f"edgeagent-{first.release}")
    return Travel(made, tmp_path)


def test_of_an_update_only_what_is_new_travels(travel: Travel) -> None:
    package = built(travel.folder, "next", library="x" * 200_000, program="2", moved="s", **{"lib/same": "s"})
    assert travel.cargo(package).size < 2000
    home, old = travel.arrives(package), travel.places.program.resolve()
    assert (home / "program").read_text() == "2"
    assert (home / "moved").read_text() == "s"
    assert not (home / "lib/copy").exists()
    assert (home / "bin/python3").readlink() == Path("/usr/bin/python3")
    assert (home / "bin/script").stat().st_mode & 0o777 == 0o755
    assert (home / "library").samefile(old / "library")
    assert (old / "program").read_text() == "1"


def test_a_file_that_decayed_on_the_card_travels_again(travel: Travel) -> None:
    old = travel.places.program.resolve()
    (old / "lib/same").write_text("t")
    (old / "lib/copy").write_text("t")
    package = built(travel.folder, "next", library="x" * 200_000, program="1", **{"lib/same": "s"})
    assert (travel.arrives(package) / "lib/same").read_text() == "s"


@pytest.mark.parametrize(
    "why", ["nothing runs there", "most of it is new", "its list is gone", "the same package"]
)
def test_a_package_travels_whole_or_not_at_all_where_a_part_is_no_use(travel: Travel, why: str) -> None:
    library = "y" if why == "most of it is new" else "x"
    package = built(travel.folder, "next", library=library * 200_000, program="2")
    facts = travel.facts()
    if why == "nothing runs there":
        facts["release"] = None
    if why == "its list is gone":
        (travel.places.program.resolve() / "files.sha256").unlink()
    if why == "the same package":
        facts["releases"] = [package.release]
    goods = unit("parcel").cargo(OnUnit(travel.places), facts, package, travel.folder)
    assert goods.name == f"{package.sha256}.deb"
    assert goods.file == (None if why == "the same package" else package.file)


def test_what_changed_between_question_and_parcel_is_refused_whole(travel: Travel) -> None:
    package = built(travel.folder, "next", library="x" * 200_000, program="2")
    goods = travel.cargo(package)
    (travel.places.program.resolve() / "library").write_text("decayed meanwhile")
    shutil.copyfile(goods.file, travel.places.incoming / goods.name)
    with pytest.raises(unit("on_unit.places").UnitError, match="lacks library"):
        unit("on_unit.stage").unpack_program(travel.places, goods.name, package.release)
    assert [path.name for path in travel.places.opt.iterdir() if path.name.startswith(".")] == []
    assert not travel.places.release(package.release).exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "lib/../../x", ""])
def test_a_list_that_leads_elsewhere_is_refused(travel: Travel, path: str) -> None:
    with pytest.raises(unit("on_unit.places").UnitError, match="names"):
        unit("on_unit.parcel").lacks(travel.places, f"{'0' * 64}  {path}\n".encode())


def test_a_package_that_is_cut_short_is_named(travel: Travel) -> None:
    package = built(travel.folder, "next", library="x" * 200_000, program="2")
    content = package.file.read_bytes()
    package.file.write_bytes(content[: len(content) // 2])
    with pytest.raises(unit("faults").FolderError, match="cannot be read"):
        travel.cargo(package)


# --- building the package -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [True, False])
def test_a_unit_that_its_tpm_has_locked_can_be_brought_a_release_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    """Its old release has no service that clears the count; where no keys are sealed, that is others'."""
    places = unit("on_unit.places").Places(tmp_path)
    program = places.release("1") / "bin/python3"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/said\ncat >>{tmp_path}/said\n')
    program.chmod(0o755)
    (tmp_path / "tpm").write_text("the device")
    monkeypatch.setattr(unit("on_unit.check"), "TPM", tmp_path / "tpm")
    places.sealed.mkdir(parents=True)
    if sealed:
        (places.sealed / "unit.key").write_text("sealed")
    unit("on_unit.check")._clear_count(places, "1")
    said = tmp_path / "said"
    wanted = "-I -m edgeagent.system.tpm\nthe device"
    assert (said.read_text() if said.exists() else None) == (wanted if sealed else None)


def test_an_invitation_on_a_unit_is_for_root_alone(tmp_path: Path) -> None:
    """Its token is no business of the daemon, whose group reads the rest of the configuration."""
    mode_of = unit("on_unit.places").mode_of
    for name, mode in (("enrolment.toml", 0o600), ("edgeagent.toml", 0o640), (".", 0o750)):
        (tmp_path / name).touch()
        assert mode_of(tmp_path / name) == mode
