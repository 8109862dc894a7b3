"""JSON Schema of every document's body, and the table of who may sign what, made from the program itself.

    python -m edgeagent.documents.schemas docs

A schema says what a body may look like. It cannot say who must have signed it, nor what the rules make of it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from edgeagent.documents.explain import KINDS, NAMES
from edgeagent.documents.keys import Role
from edgeagent.documents.table import DocumentType
from edgeagent.documents.trust import TRUST_STORE_LIMIT, TYP, TrustStoreContent
from edgeagent.safeguards.profile import StrictModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BEGIN, END = "<!-- made by make schemas: begin -->", "<!-- made by make schemas: end -->"

MODELS: dict[str, type[StrictModel]] = {
    TYP: TrustStoreContent,
    **{typ: kind.model for typ, kind in KINDS.items()},
}


def schema(typ: str) -> dict[str, Any]:
    """The body's JSON Schema 2020-12; descriptions are those of the program's own docstrings."""
    made = MODELS[typ].model_json_schema(mode="validation")
    for model in [made, *made.get("$defs", {}).values()]:
        _describe_fields(model)
    head = {"$schema": DIALECT, "$id": f"urn:edgeagent:schema:{typ}:1", "title": NAMES[typ]}
    return head | {key: value for key, value in made.items() if key != "title"}


def _describe_fields(model: dict[str, Any]) -> None:
    """Move what a docstring says under `Attributes:` to the fields that it is about."""
    text, _, attributes = str(model.get("description", "")).partition("\n\nAttributes:\n")
    if text:
        model["description"] = _one_line(text)
    for names, said in re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)", attributes, re.MULTILINE):
        for name in names.split(", "):
            model["properties"][name].setdefault("description", _one_line(said))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def signing_table() -> str:
    """Who may sign what, in Markdown."""
    lines = ["| document | `typ` | signed by | form | longest |", "|---|---|---|---|---|"]
    lines.append(_row(TYP, "the pinned root", "file", TRUST_STORE_LIMIT))
    for typ, kind in KINDS.items():
        lines.append(_row(typ, _signers(kind), "message" if kind.compact else "file", kind.limit))
    return "\n".join(lines)


def _row(typ: str, signers: str, form: str, limit: int) -> str:
    return f"| {NAMES[typ]} | `{typ}` | {signers} | {form} | {limit:,} B |"


def _signers(kind: DocumentType[Any]) -> str:
    if kind.any_of:
        text = "one of: " + _names(kind.any_of)
    else:
        text = _names(kind.must) + (f"; also {_names(kind.may)}" if kind.may else "")
    return text + (" (counts whatever the clock says)" if kind.timeless else "")


def _names(roles: frozenset[Role]) -> str:
    return ", ".join(sorted(role.replace("_", " ") for role in roles))


def files(docs: Path) -> dict[Path, str]:
    """Every file that is made, and what it should hold; `documents.md` keeps the text around its table."""
    made = {docs / "schemas" / f"{typ}.json": json.dumps(schema(typ), indent=1) + "\n" for typ in MODELS}
    page = docs / "documents.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return made | {page: f"{before}{BEGIN}\n{signing_table()}\n{END}{after}"}


def write(docs: Path) -> None:
    """Make every file anew."""
    (docs / "schemas").mkdir(exist_ok=True)
    for file, text in files(docs).items():
        file.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
