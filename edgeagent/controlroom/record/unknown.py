"""What a record cannot say, and what in it cannot be right: said on the page rather than left out."""

from __future__ import annotations

from edgeagent.controlroom.record.model import DeploymentRecord


def contradictions(record: DeploymentRecord, passed: int) -> tuple[str, ...]:
    """What log and return cannot both be right about. `passed` is people who walked past, by the logs."""
    blue, said = record.blue_list, []
    hits = blue.alerts - blue.false_alerts
    if blue.passes is not None and hits > blue.passes:
        said.append(
            f"{hits} alerts of test subjects, but the return says that they walked past {blue.passes} times."
        )
    if blue.passes is not None and blue.passes > passed:
        said.append(
            f"The return says {blue.passes} passes of test subjects; the cameras saw {passed} people."
        )
    if blue.subjects is not None and blue.subjects > blue.listed:
        said.append(f"The return says {blue.subjects} test subjects; {blue.listed} were on the list.")
    if not record.faces.balanced:
        said.append("Detected faces are not all accounted for as deleted or in an alert (R1).")
    if record.published.alerts.false > record.published.faces_seen:
        said.append("There were more false alerts than people who walked past.")
    return tuple(said)


def not_known(record: DeploymentRecord) -> tuple[str, ...]:
    """What nobody can learn from this record, and why."""
    said = [
        "How many listed people walked past without an alert. Only test subjects can measure that.",
        "Who walked past: the program infers nobody's sex, age or ethnicity, so no figure here is by group. "
        "How it does by group is in the evaluation behind the certificate.",
        "Whether an officer's or operator's judgement was right.",
    ]
    blue = record.blue_list
    if blue.passes is None:
        said.append(
            "How often test subjects walked past, so the miss rate is not known"
            + (", and they are counted among the people seen." if blue.listed else "; none were listed.")
        )
    if record.published.alerts.open:
        said.append(
            f"Whether {record.published.alerts.open} of the alerts were right: no log has a decision."
        )
    if any(not period.clock_trusted for period in record.camera):
        said.append(
            "The exact time of day of some periods: nobody vouched for that unit's clock. Lengths are right."
        )
    if record.gaps:
        said.append("What happened after a unit's last word, where one stopped without saying so.")
    if not record.system.certificates and record.kind == "live":
        said.append("Which evaluation certificate the model had: the log names none.")
    return tuple(said)
