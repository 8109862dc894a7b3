"""From verified bytes to a typed document, with messages that name the field."""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from edgeagent.documents.jws import strict_json
from edgeagent.errors import DocumentError
from edgeagent.safeguards.profile import StrictModel

Model = TypeVar("Model", bound=StrictModel)


def parse(model: type[Model], payload: bytes, what: str) -> Model:
    """The payload as the model; unknown, missing and ill-typed fields are refused.

    Raises:
        DocumentError: naming the first field at fault, never its value.
    """
    strict_json(payload)
    try:
        return model.model_validate_json(payload)
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in fault["loc"]) or "(whole)"
        raise DocumentError(
            f"field {field}: {fault['msg']}", where=what, next_step="have it made again with this field right"
        ) from None
