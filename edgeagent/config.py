"""The unit's configuration: one TOML file, read once, every key checked.

It holds places and devices only. Whatever a safeguard depends on (thresholds, lengths, limits) is in signed
documents, so no line of this file can weaken one.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from edgeagent.errors import ConfigError
from edgeagent.safeguards.authority import UnitName
from edgeagent.safeguards.profile import StrictModel
from edgeagent.safeguards.sources import SourceKind, SourceSpec, parse_source
from edgeagent.system.files import read_bounded
from edgeagent.system.modelpack import Scene, default_pack_folder

CONFIG_LIMIT = 65_536
FileName = Annotated[str, Field(min_length=1, max_length=4096)]
Section = TypeVar("Section", bound="_File")


class UnitSection(StrictModel):
    """Who this unit is."""

    name: UnitName
    key: FileName


class TrustSection(StrictModel):
    """Whom it trusts; `root` is the thumbprint of the root key that signed the store."""

    store: FileName
    root: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]


class DocumentsSection(StrictModel):
    """Where the deployment's signed documents are put."""

    authority: FileName
    watchlist: FileName
    certificate: FileName | None = None


class DataSection(StrictModel):
    """Where the unit keeps its outbox and sequence numbers."""

    folder: FileName


class CameraSection(StrictModel):
    """The one source of frames; sizes in pixels, rate in frames per second.

    `scene` says how far off the faces are: "near" looks at 640×384 pixels of each frame, "far" at 960×544,
    which finds smaller faces and takes about twice as long.
    """

    source: Annotated[str, Field(min_length=1, max_length=4096)]
    width: Annotated[int, Field(ge=320, le=4096)] = 1280
    height: Annotated[int, Field(ge=240, le=4096)] = 720
    fps: Annotated[int, Field(ge=1, le=60)] = 15
    scene: Scene = "near"


class ModelsSection(StrictModel):
    """The model pack; the one that is installed with the program if no folder is named.

    Authority, watchlist and certificate name a pack by its hash: with another, they are refused (R18).
    """

    folder: FileName | None = None


class HealthSection(StrictModel):
    """Where the machine's numbers are written for a Prometheus collector; in the data folder if not given."""

    textfile: FileName | None = None


class BrokerSection(StrictModel):
    """The MQTT broker and this unit's TLS certificate. TLS cannot be switched off.

    `through` is a local socket that is forwarded to the broker, for a service without a network of its own.
    """

    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65_535)] = 8883
    through: FileName | None = None
    ca: FileName
    certificate: FileName
    key: FileName


class DeskSection(StrictModel):
    """The control room's private key and where it keeps the ids of alerts that it has received."""

    name: UnitName
    key: FileName
    data: FileName


class _File(StrictModel):
    file: Path

    def path(self, name: str) -> Path:
        """A path of the file, relative ones seen from the file's folder."""
        return self.file.parent / name


class DeskConfig(_File):
    """The control room's file. `file` is where it was read."""

    desk: DeskSection
    trust: TrustSection
    broker: BrokerSection


class Config(_File):
    """The unit's file. `file` is where it was read."""

    unit: UnitSection
    trust: TrustSection
    documents: DocumentsSection
    data: DataSection
    camera: CameraSection
    broker: BrokerSection
    models: ModelsSection = ModelsSection()
    health: HealthSection = HealthSection()

    @property
    def models_folder(self) -> Path:
        """Where the model pack is."""
        folder = self.models.folder
        return default_pack_folder() if folder is None else self.path(folder)

    @property
    def data_folder(self) -> Path:
        """Where this unit keeps its data; a bench keeps its own apart from a live deployment's (R33)."""
        folder = self.path(self.data.folder)
        return folder if self.source.kind is SourceKind.CAMERA else folder / "bench"

    @property
    def health_file(self) -> Path:
        """Where the machine's numbers are written for a Prometheus collector.

        Unless the configuration says otherwise, in the service's folder in memory: a collector may enter
        that, and no card wears.
        """
        if self.health.textfile is not None:
            return self.path(self.health.textfile)
        return Path(os.environ.get("RUNTIME_DIRECTORY") or self.data_folder) / "health.prom"

    @property
    def source(self) -> SourceSpec:
        """The camera source; checked when the file was read (R24)."""
        return parse_source(self.camera.source)


def load_config(file: Path) -> Config:
    """Read and check the unit's configuration.

    Raises:
        ConfigError: missing, not TOML, or a key unknown, missing or impossible; names file, key and remedy.
        SafeguardError: R24, a source that is not a local camera.
    """
    config = _load(Config, file)
    parse_source(config.camera.source)
    return config


def load_desk_config(file: Path) -> DeskConfig:
    """Read and check the control room's configuration.

    Raises:
        ConfigError: as for `load_config`.
    """
    return _load(DeskConfig, file)


def read_table(file: Path, limit: int, if_empty: str) -> dict[str, Any]:
    """A TOML file that somebody wrote, as a table; `if_empty` is the advice if nothing is in it.

    Raises:
        ConfigError: cannot be read, longer than `limit` bytes, not TOML, or empty.
    """
    table: dict[str, Any] = {}
    if not file.is_file() or file.stat().st_size:
        try:
            table = tomllib.loads(read_bounded(file, limit, ConfigError).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as cause:
            what = f"is not TOML: {cause}"
            raise ConfigError(what, where=str(file), next_step="correct that line") from cause
    if not table:
        raise ConfigError("is empty", where=str(file), next_step=if_empty)
    return table


def _load(model: type[Section], file: Path) -> Section:
    table = read_table(file, CONFIG_LIMIT, _sections(model))
    if "file" in table:
        # Set by the program: it says where relative paths start.
        raise ConfigError("unknown key", where=f"{file}: file", next_step="remove it")
    try:
        return model.model_validate({**table, "file": file.absolute()})
    except ValidationError as cause:
        raise _explain(cause, model, file) from None


def _sections(model: type[StrictModel]) -> str:
    fields = model.model_fields.items()
    wanted = [f"[{name}]" for name, field in fields if field.is_required() and name != "file"]
    return f"write its sections {', '.join(wanted)}; deploy/ has an example"


def _explain(cause: ValidationError, model: type[StrictModel], file: Path) -> ConfigError:
    fault = cause.errors(include_url=False, include_context=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _known_keys(model, tuple(fault["loc"])[:-1])
        near = difflib.get_close_matches(str(fault["loc"][-1]), known, n=1)
        advice = f"did you mean {near[0]}?" if near else f"remove it; known keys: {', '.join(sorted(known))}"
        return ConfigError("unknown key", where=f"{file}: {key}", next_step=advice)
    if fault["type"] == "missing":
        return ConfigError("is missing", where=f"{file}: {key}", next_step="add it")
    return ConfigError(str(fault["msg"]), where=f"{file}: {key}", next_step="correct the value")


def _known_keys(model: type[StrictModel], section: tuple[Any, ...]) -> list[str]:
    for part in section:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, StrictModel)):
            return []
        model = annotation
    return [name for name in model.model_fields if name != "file"]
