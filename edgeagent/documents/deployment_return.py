"""The control room's return for one deployment: what it alone knows and no unit's log can (R30, R32)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from edgeagent.documents.keys import Role
from edgeagent.documents.table import DocumentType
from edgeagent.safeguards.authority import DeploymentId
from edgeagent.safeguards.profile import StrictModel

_People = Annotated[int, Field(ge=0, le=10_000)]


class DeploymentReturn(StrictModel):
    """Figures for the published record. It has no room for remarks, so nobody can be described in it.

    Attributes:
        subjects: consenting test subjects who walked past a camera.
        passes: how often they did, one person's passes further apart than the authority's `realert_s`.
        officer_hours: hours that officers spent on the ground, if not what the leases say; else null.
    """

    deployment: DeploymentId
    issued_at: AwareDatetime
    subjects: _People
    passes: _People
    officer_hours: Annotated[float, Field(ge=0, le=100_000)] | None


DEPLOYMENT_RETURN = DocumentType(
    "edgeagent-deployment-return", DeploymentReturn, 4_096, must=frozenset({Role.CONTROL_ROOM})
)
