"""From logs and returns to records: which entries belong together, and what follows from them (R30)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TypeVar

from edgeagent.audit.events import (
    AlertMade,
    AlertsGone,
    DeploymentLoaded,
    Entry,
    Judged,
    RateReviewed,
    RateSuspended,
    Refused,
    Tally,
)
from edgeagent.controlroom.record import model
from edgeagent.controlroom.record.disclosure import WITHHELD_BELOW, small, withhold
from edgeagent.controlroom.record.series import series
from edgeagent.controlroom.record.stretches import Stretch, UnitLog, stretches
from edgeagent.controlroom.record.times import (
    camera_periods,
    lease_spans,
    longest_lapse_ms,
    open_seconds,
    overlaid,
)
from edgeagent.controlroom.record.unknown import contradictions, not_known
from edgeagent.controlroom.record.verdicts import Case, cells, decisions, disposals, outcomes, rate
from edgeagent.documents.deployment_return import DeploymentReturn
from edgeagent.errors import DocumentError, SafeguardError
from edgeagent.safeguards.authority import Kind
from edgeagent.safeguards.categories import Category

KEY_SHOWN = 16
Value = TypeVar("Value", str, float, int)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Everything of one deployment."""

    stretches: list[Stretch]
    logs: list[UnitLog]
    cases: list[Case]
    returned: DeploymentReturn | None

    @property
    def loaded(self) -> list[DeploymentLoaded]:
        return [stretch.loaded for stretch in self.stretches]

    @property
    def entries(self) -> Iterator[Entry]:
        return chain.from_iterable(stretch.entries for stretch in self.stretches)

    @property
    def public(self) -> list[Case]:
        """R32."""
        return [case for case in self.cases if not case.test_subject]


def build(logs: Iterable[UnitLog], returns: Iterable[DeploymentReturn]) -> model.Record:
    """The record of every deployment in the logs.

    Raises:
        DocumentError: no deployment in them, a unit's log given twice, or a return that belongs to none.
        SafeguardError: R33, bench and live deployments together.
    """
    whole = _each_once(logs)
    found: dict[str, list[Stretch]] = {}
    for log in whole:
        for stretch in stretches(log):
            found.setdefault(stretch.loaded.deployment, []).append(stretch)
    said = _returns(returns, found)
    judged = _last_judgements(whole)
    made = [_deployment(of, whole, judged, said.get(name)) for name, of in found.items()]
    if not made:
        raise DocumentError("holds no deployment", where="log", next_step="give the log of a deployment")
    bench = {record.kind is Kind.BENCH for record in made}
    if len(bench) > 1:
        raise SafeguardError(
            "bench and live deployments cannot be in one record",
            where="logs",
            next_step="make one record of each kind, from the logs of each kind",
            rule="R33",
        )
    return model.Record(
        format="edgeagent-record-of-a-test/1" if bench == {True} else "edgeagent-record/1",
        test=bench == {True},
        verified=all(record.verified for record in made),
        deployments=tuple(sorted(made, key=lambda record: (record.authorised.start, record.deployment))),
    )


def _each_once(logs: Iterable[UnitLog]) -> list[UnitLog]:
    whole = list(logs)
    twice = [unit for unit, count in Counter(log.unit for log in whole).items() if count > 1]
    if twice:
        raise DocumentError(
            "is given twice", where=f"log of {twice[0]}", next_step="give each unit's log once"
        )
    return whole


def _returns(returns: Iterable[DeploymentReturn], found: Mapping[str, object]) -> dict[str, DeploymentReturn]:
    said: dict[str, DeploymentReturn] = {}
    for each in returns:
        if each.deployment not in found or each.deployment in said:
            what = "is given twice" if each.deployment in said else "is of a deployment that is in no log"
            raise DocumentError(
                what,
                where=f"return of {each.deployment}",
                next_step="give the one that belongs to these logs",
            )
        said[each.deployment] = each
    return said


def _last_judgements(logs: Iterable[UnitLog]) -> dict[tuple[str, str], Judged]:
    """By unit and alert, whenever it was judged: perhaps after a restart, or in the next deployment."""
    return {
        (log.unit, entry.body.alert): entry.body
        for log in logs
        for entry in log.entries
        if isinstance(entry.body, Judged)
    }


def _cases(of: list[Stretch], judged: Mapping[tuple[str, str], Judged]) -> list[Case]:
    return [
        Case(entry.at, entry.body, judged.get((stretch.unit, entry.body.alert)))
        for stretch in of
        for entry in stretch.entries
        if isinstance(entry.body, AlertMade)
    ]


def _deployment(
    of: list[Stretch],
    logs: list[UnitLog],
    judged: Mapping[tuple[str, str], Judged],
    returned: DeploymentReturn | None,
) -> model.DeploymentRecord:
    units = {stretch.unit for stretch in of}
    parts = _Parts(of, [log for log in logs if log.unit in units], _cases(of, judged), returned)
    loaded = parts.loaded
    if len({one.kind for one in loaded}) > 1:
        raise SafeguardError(
            "is a bench's and a live deployment's name",
            where=f"deployment {loaded[0].deployment}",
            next_step="find out which unit used the name twice",
            rule="R33",
        )
    counted = outcomes(parts.public)
    hours = returned.officer_hours if returned else None
    periods = tuple(sorted(chain.from_iterable(map(camera_periods, of)), key=lambda each: each.start))
    lease_hours = overlaid(chain.from_iterable(map(lease_spans, of))) / 3600
    faces = _faces(of)
    passed = sum(_total(stretch, "passed") for stretch in of)
    blue = _blue_list(parts)
    published = _published(parts, periods, passed, counted)
    record = model.DeploymentRecord(
        deployment=loaded[0].deployment,
        kind=loaded[0].kind,
        units=tuple(sorted(units)),
        verified=all(log.verified for log in parts.logs),
        logs=tuple(_verdict(log) for log in parts.logs),
        published=published,
        blue_list=blue,
        decisions=decisions(parts.public),
        outcomes=counted,
        composition=_composition(loaded),
        authorised=_authorised(loaded),
        system=_system(of),
        officer_hours=lease_hours if hours is None else hours,
        officer_hours_from="leases" if hours is None else "return",
        camera=periods,
        longest_lapse_to_closed_ms=longest_lapse_ms(parts.entries),
        gaps=tuple(_gap(stretch) for stretch in of if stretch.cut),
        faces=faces,
        undelivered_alerts=_undelivered(parts),
        suspensions=tuple(chain.from_iterable(_suspensions(unit, of) for unit in sorted(units))),
        refused=_refused(of),
        series=series(of, parts.public),
        contradictions=(),
        not_known=(),
    )
    return record.model_copy(
        update={"contradictions": contradictions(record, passed), "not_known": not_known(record)}
    )


def _undelivered(parts: _Parts) -> int:
    return sum(entry.body.count for entry in parts.entries if isinstance(entry.body, AlertsGone))


def _verdict(log: UnitLog) -> model.LogVerdict:
    return model.LogVerdict(
        unit=log.unit, entries=len(log.entries), verified=log.verified, verdict=log.verdict[:400]
    )


def _published(
    parts: _Parts, periods: tuple[model.Period, ...], passed: int, counted: Mapping[str, int]
) -> model.Published:
    loaded = parts.loaded
    alerts = cells(parts.public)
    seen = max(0, passed - (parts.returned.passes if parts.returned else 0))
    arrests, other, nothing = disposals(counted)
    start = periods[0].start if periods else None
    last = max((each.start + timedelta(seconds=each.seconds) for each in periods), default=None)
    return model.Published(
        location=_places([one.site for one in loaded]),
        date=f"{start or min(one.start for one in loaded):%Y-%m-%d}",
        first_opened=start,
        last_closed=last,
        camera_open_s=open_seconds(periods),
        use_case=loaded[-1].use_case,
        watchlist_size=max(map(_listed, loaded)),
        threshold=min(one.threshold for one in loaded),
        faces_seen=seen,
        alerts=alerts,
        false_alert_rate=rate(alerts.false, seen),
        false_alert_rate_at_most=rate(alerts.false + alerts.open, seen),
        arrests=arrests,
        other_disposals=other,
        no_action=nothing,
    )


def _listed(one: DeploymentLoaded) -> int:
    """Entries without test subjects."""
    return one.entries - one.counts.get(Category.TEST_SUBJECT, 0)


def _places(sites: list[str]) -> str:
    """Each place once; those for which there is no room are counted."""
    places = list(dict.fromkeys(sites))
    shown = len(places)
    said = "; ".join(places)
    while len(said) > model.TEXT_LIMIT and shown > 1:
        shown -= 1
        said = "; ".join([*places[:shown], f"and {len(places) - shown} more"])
    return said


def _blue_list(parts: _Parts) -> model.BlueList:
    """R32: an alert that turned out to be of somebody else is no hit, and is said."""
    theirs = [case for case in parts.cases if case.test_subject]
    wrong = sum(case.false for case in theirs)
    said = parts.returned
    return model.BlueList(
        listed=max(one.counts.get(Category.TEST_SUBJECT, 0) for one in parts.loaded),
        subjects=said.subjects if said else None,
        passes=said.passes if said else None,
        alerts=len(theirs),
        false_alerts=wrong,
        tpir=rate(len(theirs) - wrong, said.passes) if said else None,
    )


def _composition(loaded: list[DeploymentLoaded]) -> model.ListComposition:
    """Of the list whose length is published; test subjects are counted apart, as consenting people."""
    longest = max(loaded, key=_listed)
    public = [category for category in Category if category is not Category.TEST_SUBJECT]
    counts = {str(category): longest.counts.get(category, 0) for category in public}
    return model.ListComposition(
        categories=withhold(counts),
        under_18=None if small(longest.under_18) else longest.under_18,
        withheld_below=WITHHELD_BELOW,
    )


def _authorised(loaded: list[DeploymentLoaded]) -> model.Authorised:
    signers = dict.fromkeys((signer.role, signer.kid[:KEY_SHOWN]) for one in loaded for signer in one.signers)
    return model.Authorised(
        start=min(one.start for one in loaded),
        end=max(one.end for one in loaded),
        urgent=any(one.urgent for one in loaded),
        retention_h=max(one.retention_h for one in loaded),
        signatures=tuple(model.Signature(role=role, key=kid) for role, kid in signers),
    )


def _system(of: list[Stretch]) -> model.System:
    loaded = [stretch.loaded for stretch in of]
    return model.System(
        versions=_distinct(stretch.version for stretch in of if stretch.version),
        model_packs=_distinct(one.model_pack_sha256 for one in loaded),
        certificates=_distinct(one.certificate_sha256 for one in loaded if one.certificate_sha256),
        authorities=_distinct(one.authority_sha256 for one in loaded),
        watchlists=_distinct(one.watchlist_sha256 for one in loaded),
        thresholds=_distinct(one.threshold for one in loaded),
        margins=_distinct(one.margin for one in loaded),
        agreeing_frames=_distinct(one.agreeing_frames for one in loaded),
    )


def _distinct(values: Iterable[Value]) -> tuple[Value, ...]:
    return tuple(dict.fromkeys(values))


def _total(stretch: Stretch, name: str) -> int:
    """What one figure of the tally rose by; it counts from the start of the daemon."""
    last = stretch.last(Tally)
    if last is None:
        return 0
    before = getattr(stretch.before, name) if stretch.before else 0
    return max(0, int(getattr(last.body, name)) - int(before))


def _faces(of: list[Stretch]) -> model.Faces:
    """R1; every tally must balance, not only the last."""
    tallies = [entry.body for stretch in of for entry in stretch.entries if isinstance(entry.body, Tally)]
    return model.Faces(
        detected=sum(_total(stretch, "processed") for stretch in of),
        deleted=sum(_total(stretch, "deleted") for stretch in of),
        in_alerts=sum(_total(stretch, "in_live_alerts") for stretch in of),
        balanced=all(one.processed == one.deleted + one.in_live_alerts for one in tallies),
        comparisons=sum(_total(stretch, "compared") for stretch in of),
    )


def _gap(stretch: Stretch) -> model.Gap:
    cut = stretch.cut
    assert cut is not None  # noqa: S101 - the caller's condition
    return model.Gap(
        unit=cut.unit, last_word=cut.last_word, back=cut.back, camera_was_open=cut.camera_was_open
    )


def _suspensions(unit: str, of: list[Stretch]) -> Iterator[model.Suspension]:
    """Of one unit, each with the first review after it, perhaps after a restart (R17)."""
    entries = [entry for stretch in of if stretch.unit == unit for entry in stretch.entries]
    for number, entry in enumerate(entries):
        body = entry.body
        if not isinstance(body, RateSuspended):
            continue
        review = next((one for one in entries[number:] if isinstance(one.body, RateReviewed)), None)
        by = review.body.signers if review and isinstance(review.body, RateReviewed) else ()
        yield model.Suspension(
            unit=unit,
            at=entry.at,
            false_alerts=body.false_alerts,
            faces=body.passed,
            bound=body.bound,
            limit=body.limit,
            reviewed_at=review.at if review else None,
            reviewed_by=tuple(signer.role for signer in by),
        )


def _refused(of: list[Stretch]) -> dict[str, int]:
    """By rule. A unit that is flooded with refusals writes some only as a number, with the next one."""
    early = chain.from_iterable(stretch.refused for stretch in of)
    later = (entry.body for stretch in of for entry in stretch.entries if isinstance(entry.body, Refused))
    count: Counter[str] = Counter()
    for one in chain(early, later):
        count[one.rule or "no rule"] += 1
        count["rule not noted"] += one.unwritten
    said = [(rule, number) for rule, number in count.items() if number]
    return dict(sorted(said, key=lambda item: (len(item[0]), item[0])))
