"""Where private keys lie: what is written can be read back, by this machine alone where that is promised."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeagent.agent.enrol import check_keys
from edgeagent.agent.enrol_config import CREDENTIALS, TLS_KEY, UNIT_KEY, keeping
from edgeagent.agent.enrol_finish import DROP_IN, finish, read_files
from edgeagent.config import load_config
from edgeagent.documents import keys
from edgeagent.documents.keys import Role, key_file_content, load_identity
from edgeagent.errors import ConfigError, KeyFileError
from edgeagent.system import enrol_keys
from edgeagent.system.enrol_keys import CREDS, Keeper, Kept
from tests.desk import Desk, identity
from tests.enrol_samples import Scene
from tests.software_tpm import software_tpm

SECRET = b"not a key, but as long as one may be" * 100
HOST_KEY = Path("/var/lib/systemd/credential.secret")


def why_no_host_key() -> str:
    """What is missing for sealing by the system's own key; empty if nothing is."""
    if shutil.which(CREDS) is None:
        return "systemd-creds is not installed"
    if os.geteuid() != 0:
        return "systemd-creds needs root for the system's key"
    tried = subprocess.run(
        [CREDS, "encrypt", "--with-key=host", "--name=try", "-", "-"], input=b"x", capture_output=True
    )
    return "" if tried.returncode == 0 else f"systemd-creds cannot use a system key here: {tried.stderr!r}"


@pytest.fixture
def host(tmp_path: Path) -> Keeper:
    missing = why_no_host_key()
    if missing:
        pytest.skip(missing)
    return Keeper(tmp_path, Kept.HOST)


@pytest.fixture
def tpm(tmp_path: Path) -> Iterator[str]:
    """A software TPM, as systemd-creds is told of it."""
    with software_tpm(tmp_path / "tpm") as made:
        yield made.name


def test_a_plain_file_is_for_its_owner_and_goes_when_it_is_destroyed(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, Kept.FILE)
    keeper.put("unit.key", SECRET)
    assert keeper.path("unit.key").stat().st_mode & 0o777 == 0o600
    assert keeper.get("unit.key") == SECRET
    assert keeper.destroy("unit.key")
    assert not keeper.destroy("unit.key")
    with pytest.raises(KeyFileError, match="cannot be read"):
        keeper.get("unit.key")


def test_a_key_sealed_by_the_system_opens_here_under_its_own_name_only(host: Keeper) -> None:
    host.put("unit.key", SECRET)
    content = host.path("unit.key").read_bytes()
    assert SECRET[:20] not in content
    assert host.get("unit.key") == SECRET
    host.path("tls.key").write_bytes(content)
    with pytest.raises(KeyFileError, match="cannot be sealed or opened with host"):
        host.get("tls.key")
    host.path("unit.key").write_bytes(content[:100] + b"AAAA" + content[104:])
    with pytest.raises(KeyFileError, match="cannot be sealed or opened with host"):
        host.get("unit.key")


def test_a_key_sealed_by_a_tpm_needs_that_tpm(tpm: str, tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, Kept.TPM2, tpm)
    keeper.put("unit.key", SECRET)
    assert keeper.get("unit.key") == SECRET
    assert SECRET[:20] not in keeper.path("unit.key").read_bytes()
    without = Keeper(tmp_path, Kept.TPM2, "swtpm:host=127.0.0.1,port=9")
    with pytest.raises(KeyFileError, match="cannot be sealed or opened with tpm2"):
        without.get("unit.key")


def test_without_the_program_it_says_so_and_writes_no_plain_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KeyFileError, match=r"systemd-creds is not installed.*--keep file"):
        Keeper(tmp_path, Kept.TPM2).put("unit.key", SECRET)
    assert list(tmp_path.iterdir()) == []


def test_an_enrolment_with_sealed_keys_leaves_no_plain_one(host: Keeper, desk: Desk) -> None:
    """With the system's key, since a software TPM without a resource manager has room for three sessions."""
    scene = Scene(host.folder / "scene", desk)
    place = scene.place()
    first = scene.begin(scene.card())  # plain files first, as on a unit that gets its TPM later
    made = scene.approve(first.document, first.code)
    finish(place, read_files(made.folder), scene.now)
    told = scene.card()
    with pytest.raises(ConfigError, match=r"unit\.key: is not what this enrolment installs"):
        scene.begin(told, again=True, kept=Kept.HOST)
    place.config.unlink()  # as the refusal says

    pending = scene.begin(told, again=True, kept=Kept.HOST)
    check_keys(Keeper(place.staging, Kept.HOST), pending.asked)
    made = scene.approve(pending.document, pending.code, replaces=True)
    finish(place, read_files(made.folder), scene.now)
    config = load_config(place.config)
    assert config.unit.key == str(CREDENTIALS / UNIT_KEY)
    assert config.broker.key == str(CREDENTIALS / TLS_KEY)
    sealed = place.folder / "credentials"
    assert (place.drop_ins / DROP_IN).read_text().splitlines()[1:] == [
        "[Service]",
        f"LoadCredentialEncrypted=unit.key:{sealed / UNIT_KEY}",
        f"LoadCredentialEncrypted=tls.key:{sealed / TLS_KEY}",
    ]
    check_keys(Keeper(sealed, Kept.HOST), pending.asked)
    for file in (path for path in scene.path.rglob("*") if path.is_file() and scene.ca not in path.parents):
        content = file.read_bytes()
        assert b"PRIVATE KEY" not in content, file
        assert b"sign_d" not in content, file


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that nobody can write to, as /etc/systemd on an image."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no privilege for a mount: {mounted.stderr!r}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_on_a_read_only_root_sealed_keys_are_refused_whole_with_the_way_out(
    host: Keeper, desk: Desk, read_only: Path
) -> None:
    """The daemon of a half enrolled unit does not start, so nothing may be begun that cannot be ended."""
    scene = Scene(host.folder / "scene", desk)
    pending = scene.begin(scene.card(), kept=Kept.HOST)
    answer = read_files(scene.approve(pending.document, pending.code).folder)
    image = replace(scene.place(), drop_ins=read_only / "edgeagent.service.d")
    before = {path: path.read_bytes() for path in scene.path.rglob("*") if path.is_file()}
    way_out = image.folder / "service.d"
    with pytest.raises(KeyFileError, match=f"read only.* --drop-ins {re.escape(str(way_out))}"):
        finish(image, answer, scene.now)
    assert {path: path.read_bytes() for path in scene.path.rglob("*") if path.is_file()} == before
    assert way_out / DROP_IN in finish(replace(image, drop_ins=way_out), answer, scene.now)


@pytest.mark.parametrize(("mode", "taken"), [(0o400, True), (0o440, True), (0o444, False), (0o460, False)])
def test_a_key_that_the_service_manager_opened_is_taken_as_it_makes_it(
    mode: int, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd 257 (Debian 13) shows its access list's mask as a group's right to read; 252 does not."""
    if os.geteuid() != 0:
        pytest.skip("needs root, whose file a credential is")
    monkeypatch.setattr(keys, "CREDENTIALS", tmp_path)
    file = tmp_path / "edgeagent.service" / "unit.key"
    file.parent.mkdir()
    file.write_bytes(key_file_content(identity(Role.UNIT, "unit-1")))
    file.chmod(mode)
    if taken:
        assert load_identity(file).name == "unit-1"
    else:
        with pytest.raises(KeyFileError, match="can be read by others"):
            load_identity(file)
    elsewhere = tmp_path / "unit.key"
    file.rename(elsewhere)
    elsewhere.chmod(0o440)
    with pytest.raises(KeyFileError, match="can be read by others"):
        load_identity(elsewhere)


def test_how_keys_are_kept_follows_the_machine_and_the_configuration(
    tmp_path: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TPM is never left unused unsaid; the system's key is taken only if the configuration says so."""
    scene = Scene(tmp_path / "scene", desk)
    place, tpm = scene.place(), tmp_path / "tpmrm0"
    monkeypatch.setattr(enrol_keys, "TPM_DEVICE", tpm)
    assert keeping(place) is Kept.FILE
    tpm.touch()
    assert keeping(place) is Kept.TPM2
    pending = scene.begin(scene.card())
    finish(place, read_files(scene.approve(pending.document, pending.code).folder), scene.now)
    with pytest.raises(ConfigError, match="this machine has a TPM"):
        keeping(place)
    text = place.config.read_text().replace('"unit.key"', f'"{CREDENTIALS / UNIT_KEY}"')
    place.config.write_text(text)
    assert keeping(place) is Kept.TPM2
    tpm.unlink()
    assert keeping(place) is Kept.HOST
