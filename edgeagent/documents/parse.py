"""From verified bytes to a typed document, with messages that name the field."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from pydantic import ValidationError

from edgeagent.documents.jws import strict_json
from edgeagent.errors import DocumentError
from edgeagent.safeguards.profile import StrictModel

Model = TypeVar("Model", bound=StrictModel)

UNKNOWN = "(unknown)"


def parse(model: type[Model], payload: bytes, what: str) -> Model:
    """The payload as the model; unknown, missing and ill-typed fields are refused.

    Raises:
        DocumentError: naming the first field at fault, never its value; nor a name that the sender chose,
            since refusals are written to logs that must have no room for what anybody likes to say (R25).
    """
    try:
        strict_json(payload)
        return model.model_validate_json(payload)
    except DocumentError as refusal:
        raise DocumentError(refusal.what, where=what, next_step=refusal.next_step) from refusal
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_context=False, include_input=False)[0]
        known = _names(model)
        field = (
            ".".join(str(part) if _is_ours(part, known) else UNKNOWN for part in fault["loc"]) or "(whole)"
        )
        raise DocumentError(
            f"field {field}: {fault['msg']}", where=what, next_step="have it made again with this field right"
        ) from None


def _is_ours(part: str | int, known: frozenset[str]) -> bool:
    return isinstance(part, int) or part in known


@cache
def _names(model: type[StrictModel]) -> frozenset[str]:
    """Names of all fields of a model and of those inside it."""
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for part in parts for name in part.get("properties", {}))
