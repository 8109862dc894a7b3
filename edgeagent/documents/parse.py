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
    try:
        strict_json(payload)
        return model.model_validate_json(payload)
    except DocumentError as refusal:
        raise DocumentError(refusal.what, where=what, next_step=refusal.next_step) from refusal
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_context=False, include_input=False)[0]
        field = _printable(".".join(str(part) for part in fault["loc"])) or "(whole)"
        raise DocumentError(
            f"field {field}: {fault['msg']}", where=what, next_step="have it made again with this field right"
        ) from None


def _printable(name: str) -> str:
    """A field's name, which a sender chose if it is an unknown one: no control characters, not long."""
    return "".join(character if character.isprintable() else "?" for character in name[:80])
