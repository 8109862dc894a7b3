"""The report of an evaluation, as `report.json` holds it and as whoever certifies a model pack reads it.

Rates are shares, 0 to 1. Terms are those of ISO/IEC 2382-37 and ISO/IEC 19795-1; docs/evaluation.md explains
every figure. What could not be measured is absent here and said in `left_out`; it is never a made-up number.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgeagent.safeguards.authority import Sha256
from edgeagent.safeguards.certificate import GroupLabel
from edgeagent.safeguards.profile import StrictModel

REPORT_LIMIT = 32 * 1024 * 1024
"""Bytes; a report names every picture that was left out."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Score = Annotated[float, Field(ge=-1, le=1.001)]
"""A cosine, or a threshold: one that nothing may reach lies just above 1."""
Ci = tuple[Share, Share]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Rates = dict[Annotated[str, Field(pattern=r"^0\.\d+$")], Share]
"""By false match rate, written as a decimal: "0.01", "0.001", "0.0001"."""


class Runtime(StrictModel):
    """What ran the networks, and where.

    Attributes:
        library, version: of the neural network runtime.
        machine: architecture, as the system calls it.
        precision: of each network as run, by role, in the words of the pack's manifest.
        detector_input: width and height of the detector's picture in pixels.
        scene: the model pack's detector that was used.
    """

    library: Text
    version: Text
    machine: Text
    precision: dict[Literal["detector", "embedder"], Text]
    detector_input: tuple[Positive, Positive]
    scene: Literal["near", "far"]
    threads: Positive


class Dataset(StrictModel):
    """What was measured on.

    Attributes:
        people: folders with at least one picture.
        images: picture files found.
        used: pictures from which a template was made and used.
        chosen: pictures with several faces of which the one over the picture's middle was taken.
        people_used: people with at least one such picture.
        people_with_pairs: people with at least two.
        sha256: of the sorted SHA-256 digests (hex, one a line) of the files that were used.
    """

    people: Count
    images: Count
    used: Count
    chosen: Count
    people_used: Count
    people_with_pairs: Count
    sha256: Sha256


class Failure(StrictModel):
    """One picture that gave no template, or was not fit to be enrolled; `file` is relative to the dataset."""

    file: Text
    reason: Text


class Failures(StrictModel):
    """Failure to acquire, or failure to enrol, as a share of the pictures tried.

    Attributes:
        tried: pictures that were not excluded.
        ci95: Clopper-Pearson.
        by_reason: number by kind of reason.
    """

    tried: Count
    failed: Count
    rate: Share
    ci95: Ci
    by_reason: dict[Text, Positive]
    listed: tuple[Failure, ...]


class DetPoint(StrictModel):
    """Both error rates of a comparison at one threshold."""

    threshold: Score
    fmr: Share
    fnmr: Share


class Histogram(StrictModel):
    """Shares of scores in bins of equal width from -1 to 1, lowest first."""

    mated: tuple[Share, ...]
    nonmated: tuple[Share, ...]


class Verification(StrictModel):
    """Comparison of two pictures.

    Attributes:
        protocol: which pairs were compared, in words.
        mated, nonmated: pairs compared.
        pairs_left_out: pairs of the pairs file of which a picture had no template.
        people: whose pictures were compared.
        folds: number of folds over people.
        accuracy_mean, accuracy_sd: over the folds, of the mean of true match and true non-match rate, at the
            threshold that is best on the other folds.
        threshold_mean: mean of those thresholds.
        equal_error_rate: where FMR and FNMR meet.
        tpr_at_fmr: 1 - FNMR at the lowest threshold whose FMR is not above the key.
        tpr_at_fmr_ci95: bootstrap over people, the threshold drawn anew each time.
        threshold_at_fmr: that threshold.
        det: by rising threshold.
    """

    protocol: Text
    mated: Positive
    nonmated: Positive
    pairs_left_out: Count
    people: Positive
    folds: Annotated[int, Field(ge=2, le=10)]
    accuracy_mean: Share
    accuracy_sd: Annotated[float, Field(ge=0)]
    threshold_mean: Score
    equal_error_rate: Share
    tpr_at_fmr: Rates
    tpr_at_fmr_ci95: dict[str, Ci]
    threshold_at_fmr: dict[str, Score]
    det: tuple[DetPoint, ...]
    histogram: Histogram


class Identification(StrictModel):
    """Open-set search of a gallery of one size, at the threshold of one false positive rate.

    Attributes:
        gallery_size: people enrolled at a time, with one picture each.
        probes_mated: people who were enrolled and searched for, with one other picture each.
        probes_nonmated: people who were searched for while not enrolled.
        rounds: galleries tried; in each, other people are enrolled and others are not.
        searches_mated, searches_nonmated: searches counted: one for each of these people.
        fpir: the wanted share of non-mated searches that give an alert.
        threshold: lowest threshold, in steps of 0.0001, at which that share is not above `fpir`.
        fpir_measured: the share at that threshold.
        fpir_ci95: Clopper-Pearson, on the number of people not enrolled.
        tpir: share of mated searches whose best entry is the right person, at or above the threshold.
        tpir_ci95: Clopper-Pearson, on the number of people searched for; the threshold as given.
        tpir_ci95_bootstrap: over people, enrolled or not, the threshold drawn anew each time.
        rank_one: share of mated searches whose best entry is the right person, whatever its score.
    """

    gallery_size: Positive
    probes_mated: Positive
    probes_nonmated: Positive
    rounds: Positive
    searches_mated: Positive
    searches_nonmated: Positive
    fpir: Annotated[float, Field(gt=0, lt=1)]
    threshold: Score
    fpir_measured: Share
    fpir_ci95: Ci
    tpir: Share
    tpir_ci95: Ci
    tpir_ci95_bootstrap: Ci
    rank_one: Share


class Floor(StrictModel):
    """The threshold of one false positive rate at one list size; known even where no mated search is.

    Attributes:
        threshold_ci95: bootstrap over people who were not enrolled.
        probes_nonmated: people who were searched for while not enrolled.
    """

    gallery_size: Positive
    fpir: Annotated[float, Field(gt=0, lt=1)]
    threshold: Score
    threshold_ci95: tuple[Score, Score]
    fpir_measured: Share
    probes_nonmated: Positive


class CurvePoint(StrictModel):
    """Both identification rates at one threshold."""

    threshold: Score
    fpir: Share
    tpir: Share


class DoubtfulPair(StrictModel):
    """Two pictures whose score is so far from what their labels say that a label may be wrong."""

    first: Text
    second: Text
    score: Score


class LabelErrors(StrictModel):
    """What looks like mistakes of the dataset; nothing was left out because of it.

    Attributes:
        same_face_two_names: non-mated pairs with a very high score, highest first.
        two_faces_one_name: mated pairs with a very low score, lowest first.
        dominate_below_fpir: of the largest gallery, the false positive rate that such pairs alone make up.
    """

    nonmated_at_least: Score
    mated_below: Score
    same_face_two_names: tuple[DoubtfulPair, ...]
    two_faces_one_name: tuple[DoubtfulPair, ...]
    dominate_below_fpir: Share


class GroupRate(StrictModel):
    """One rate of one group, at the threshold of `Groups`.

    Attributes:
        events, trials: the rate is the one over the other: errors, or right hits for `tpir`.
        ci95: Clopper-Pearson on `units`, over which the events are spread out.
        units: people, or pairs of people for `fmr`: pictures of one person are no independent trials.
    """

    rate: Share
    ci95: Ci
    events: Count
    trials: Positive
    units: Positive


class Group(StrictModel):
    """The people who were given one label by those who collected the pictures (R28).

    Attributes:
        enough: whether there are enough people for the group to be compared with others.
        fnmr, fmr: of pairs within the group.
        tpir, fpir: of searches in the gallery of everybody.
    """

    label: GroupLabel
    people: Count
    images: Count
    enough: bool
    failure_to_acquire: GroupRate | None
    fnmr: GroupRate | None
    fmr: GroupRate | None
    tpir: GroupRate | None
    fpir: GroupRate | None


class GroupTest(StrictModel):
    """Whether one rate differs between groups: a permutation test over people.

    Attributes:
        groups: labels compared.
        p_value: share of random divisions of the people that differ at least as much.
        p_holm: corrected for the number of tests, after Holm.
        significant: whether `p_holm` is below 0.05.
    """

    rate: Literal["failure_to_acquire", "fnmr", "fmr", "tpir", "fpir"]
    groups: tuple[GroupLabel, ...]
    permutations: Positive
    p_value: Share
    p_holm: Share
    significant: bool


class Groups(StrictModel):
    """Every rate per group, at one threshold.

    Attributes:
        least_people: a group with fewer is listed and not compared.
        unlabelled: people of the dataset without a label.
    """

    threshold: Score
    fpir: Annotated[float, Field(gt=0, lt=1)]
    least_people: Positive
    unlabelled: Count
    groups: tuple[Group, ...]
    tests: tuple[GroupTest, ...]


class Report(StrictModel):
    """The whole file.

    Attributes:
        identification: by gallery size, then by falling false positive rate; the last size is the largest.
        floors: the same order; for whoever certifies thresholds by list size (R18).
        identification_curve: of the main gallery, by rising threshold.
        main_gallery: the gallery size that the first page speaks of.
        excluded: files left out because a list said so.
        left_out: what was asked for and could not be measured, and why.
    """

    format: Literal["edgeagent-evaluation/1"]
    software_version: Text
    made_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    seed: Count
    model_pack_sha256: Sha256
    model_pack_name: Text
    runtime: Runtime
    dataset: Dataset
    excluded: tuple[Text, ...]
    failure_to_acquire: Failures
    failure_to_enrol: Failures
    verification: Verification | None
    main_gallery: Positive | None
    identification: tuple[Identification, ...]
    floors: tuple[Floor, ...]
    identification_curve: tuple[CurvePoint, ...]
    label_errors: LabelErrors
    groups: Groups | None
    left_out: tuple[Text, ...]
