"""The list of whom to enrol: a CSV whose every field is mandatory, or the whole list is refused (R7 to R11).

| column | what it holds |
|---|---|
| `entry` | opaque identifier of this row; the only thing that leaves in an alert |
| `person` | rows with the same value are images of one person |
| `image` | file name in the folder of images |
| `category` | why the person is listed, of a closed list (R8) |
| `image_basis` | why the image is held, of a closed list (R7, R11) |
| `image_taken_on` | day of the image, YYYY-MM-DD (R7) |
| `image_reference` | where the image's record is kept; stays at the desk |
| `date_of_birth` | YYYY-MM-DD; stays at the desk, the unit learns only "under 18" (R10) |
| `lawful_retention` | `yes`: the image may lawfully be held and used for this (R11) |
| `under_18_rationale` | recorded risk of significant harm; mandatory under 18, else empty (R10) |
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from edgeagent.errors import EnrolmentError
from edgeagent.safeguards.categories import Category, ImageBasis
from edgeagent.safeguards.profile import StrictModel
from edgeagent.safeguards.watchlist import Entry, EntryId, under_18
from edgeagent.system.files import read_bounded

CSV_LIMIT = 32 * 1024 * 1024


class Row(StrictModel):
    """One row. Dates before 1900 are taken for mistakes."""

    entry: EntryId
    person: EntryId
    image: Annotated[str, Field(pattern=r"^[^/\\\x00]{1,200}$")]
    category: Category
    image_basis: ImageBasis
    image_taken_on: Annotated[date, Field(ge=date(1900, 1, 1))]
    image_reference: Annotated[str, Field(min_length=3, max_length=200)]
    date_of_birth: Annotated[date, Field(ge=date(1900, 1, 1))]
    lawful_retention: Literal["yes"]
    under_18_rationale: Annotated[str, Field(max_length=2000)]

    @model_validator(mode="after")
    def _together(self) -> Row:
        if self.image_taken_on < self.date_of_birth:
            raise ValueError("image_taken_on is before date_of_birth")
        test = self.category is Category.TEST_SUBJECT
        if test != (self.image_basis is ImageBasis.CONSENTED):
            raise ValueError("a test subject's image is 'consented', and only a test subject's (R32)")
        return self

    def to_entry(self, today: date) -> Entry:
        """What the unit will hold of this row.

        Raises:
            EnrolmentError: R7, R10.
        """
        minor = under_18(self.date_of_birth, today)
        if self.image_taken_on > today or self.date_of_birth > today:
            raise _refuse(self.entry, "has a date in the future", "correct the date", "R7")
        if minor and len(self.under_18_rationale) < 40:
            what = "is under 18 and has no recorded rationale of 40 characters or more"
            raise _refuse(
                self.entry, what, "record the risk of significant harm, or leave the person out", "R10"
            )
        return Entry(
            entry=self.entry,
            person=self.person,
            category=self.category,
            image_basis=self.image_basis,
            image_taken_on=self.image_taken_on,
            under_18=minor,
        )


def _refuse(where: str, what: str, next_step: str, rule: str) -> EnrolmentError:
    return EnrolmentError(what, where=where, next_step=next_step, rule=rule)


def read_rows(file: Path) -> list[Row]:
    """All rows, or a refusal of the whole list that names line and column.

    Raises:
        EnrolmentError: a column or a value is missing, unknown or impossible, or an entry comes twice.
    """
    try:
        text = read_bounded(file, CSV_LIMIT, EnrolmentError).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = list(reader.fieldnames or [])
        _check_columns(columns, file)
        rows = [_row(fields, file, reader.line_num) for fields in reader]
    except (UnicodeDecodeError, csv.Error) as cause:
        raise EnrolmentError(
            f"is not a CSV in UTF-8: {cause}",
            where=str(file),
            next_step="save it again as CSV, UTF-8",
            rule="R7",
        ) from cause
    if not rows:
        raise _refuse(str(file), "has no rows", "list at least one person", "R7")
    entry, times = Counter(row.entry for row in rows).most_common(1)[0]
    if times > 1:
        raise _refuse(str(file), f"lists entry {entry} {times} times", "give each row its own entry", "R7")
    return rows


def _check_columns(columns: list[str], file: Path) -> None:
    wanted = list(Row.model_fields)
    missing = [name for name in wanted if name not in columns]
    unknown = [name for name in columns if name not in wanted]
    if missing or unknown or len(set(columns)) != len(columns):
        what = f"columns missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        raise _refuse(str(file), what, f"use exactly these: {', '.join(wanted)}", "R7")


def _row(fields: dict[str, str | None], file: Path, line: int) -> Row:
    if None in fields or None in fields.values():
        raise _refuse(f"{file} line {line}", "has too many or too few values", "correct the line", "R7")
    try:
        return Row.model_validate_strings(fields)
    except ValidationError as cause:
        fault = cause.errors(include_url=False, include_input=False, include_context=False)[0]
        column = ".".join(str(part) for part in fault["loc"]) or "(row)"
        where = f"{file} line {line} column {column}"
        raise EnrolmentError(fault["msg"], where=where, next_step="correct the value", rule="R7") from None
