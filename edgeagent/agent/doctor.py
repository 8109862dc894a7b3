"""What a technician is asked on the phone, as a list with what to do next.

It reads and shakes hands, and changes nothing: no camera is opened (R16), no list (R1), no file is written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from edgeagent.agent import doctor_papers as papers
from edgeagent.agent import doctor_unit as unit
from edgeagent.agent.doctor_board import board_findings
from edgeagent.agent.doctor_broker import broker
from edgeagent.agent.doctor_camera import camera
from edgeagent.agent.doctor_finding import CannotTellError, Finding, attempt
from edgeagent.agent.doctor_service import Service, ask_service, service_findings
from edgeagent.agent.enrol_finish import SEALED
from edgeagent.config import Config, load_config
from edgeagent.safeguards.instant import Instant
from edgeagent.system.board import read_board
from edgeagent.system.clock import Clock
from edgeagent.system.modelpack import ModelPack, default_pack_folder, load_pack
from edgeagent.system.selftest import SelfTestReport, self_test

Read = TypeVar("Read")
NO_CONFIGURATION = "it depends on the configuration"
NO_MODELS = "it depends on the models"


def examine(
    config_file: Path,
    clock: Clock,
    *,
    root: Path = Path("/"),
    ask: Callable[[], Service | None] = ask_service,
) -> list[Finding]:
    """Every check, in the order in which a technician would look; a failed one does not end the rest.

    Args:
        root: below which the machine's own files are, such as /proc and /sys; a test holds a board there.
        ask: the service manager.
    """
    now, service = clock.now(), ask()
    configs: list[Config] = []
    configured = attempt("configuration", lambda: _configuration(config_file, configs))
    config = configs[0] if configs else None
    pack: list[ModelPack] = []
    tested: list[SelfTestReport] = []
    folder = config.models_folder if config else default_pack_folder()
    return [
        *board_findings(read_board(root), root, now),
        configured,
        attempt("enrolment", lambda: papers.enrolment(config_file)),
        attempt("TPM", lambda: unit.tpm(root, config_file.parent / SEALED)),
        attempt("storage", partial(_with, config, unit.storage)),
        attempt("models", lambda: _models(folder, pack, tested)),
        attempt("accelerator", lambda: unit.accelerator(_needed(tested, NO_MODELS), root)),
        attempt("camera", partial(_with, config, lambda it: camera(it, root, service))),
        *_papers(config, pack, now),
        *service_findings(service),
    ]


def _papers(config: Config | None, pack: list[ModelPack], now: Instant) -> list[Finding]:
    def with_pack(check: Callable[[Config, ModelPack], str]) -> Callable[[], str]:
        return partial(_with, config, lambda it: check(it, _needed(pack, NO_MODELS)))

    return [
        attempt("certificate", partial(_with, config, lambda it: papers.certificates(it, now))),
        attempt("broker", partial(_with, config, lambda it: broker(it, now))),
        attempt("unit's key", with_pack(lambda it, models: papers.keys(it, models, now))),
        attempt("trust store", partial(_with, config, papers.trust)),
        attempt("authority and list", with_pack(lambda it, models: papers.deployment(it, models, now))),
    ]


def _configuration(file: Path, found: list[Config]) -> str:
    config = load_config(file)
    found.append(config)
    return f"unit {config.unit.name}, source {config.camera.source}"


def _models(folder: Path, found: list[ModelPack], tested: list[SelfTestReport]) -> str:
    pack = load_pack(folder)
    report = self_test(pack)
    found.append(pack)
    tested.append(report)
    return unit.models(pack, report)


def _with(config: Config | None, check: Callable[[Config], str]) -> str:
    if config is None:
        raise CannotTellError(NO_CONFIGURATION)
    return check(config)


def _needed(found: list[Read], why: str) -> Read:
    if not found:
        raise CannotTellError(why)
    return found[0]
