"""The results for who checks them: searches, thresholds, groups, comparisons; a table beside every plot."""

from __future__ import annotations

from edgeagent.evaluation import plots
from edgeagent.evaluation.page_html import Row, paragraph, table
from edgeagent.evaluation.rates import RULE_OF_THREE, supports
from edgeagent.evaluation.report_model import GroupRate, Groups, Identification, Report
from edgeagent.evaluation.words import main_results, percent, plain_rate, span, spoken_of
from edgeagent.safeguards.certificate import rate_name


def searching(report: Report) -> str:
    """Open-set identification: plot and tables."""
    results = main_results(report)
    if not results:
        return ""
    outside = results[0].probes_nonmated
    least = RULE_OF_THREE / outside
    drawn = plots.identification_plot(
        report.identification_curve, results, least, report.label_errors.dominate_below_fpir
    )
    about = paragraph(
        f"{results[0].gallery_size:,} people are enrolled with one picture. {results[0].probes_mated:,} of "
        f"them are searched for with one other picture; {outside:,} people are searched for while not "
        "enrolled. The true positive identification rate (TPIR) counts searches whose best entry is the "
        "right person, at or above the threshold; the false positive identification rate (FPIR) counts "
        "searches of people not enrolled that reach it."
    )
    head = (
        "List",
        "FPIR",
        "FPIR, 95 %",
        "Threshold",
        "TPIR",
        "95 %, threshold given",
        "95 %, bootstrap",
        "Rank one",
        "Probes, mated",
        "Probes, other",
    )
    rows = [_searched(found) for found in report.identification]
    note = paragraph(
        "The first interval is Clopper-Pearson on people at the threshold as given. The bootstrap draws "
        "people anew, finds the threshold anew each time, and so also holds the doubt about the threshold. "
        "* rests on fewer than three expected false positives: believe the interval, not the figure.",
        "small",
    )
    return f"<h2>Searching a list</h2>{about}{drawn}{table('All list sizes', head, rows)}{note}"


def _searched(found: Identification) -> Row:
    return (
        f"{found.gallery_size:,}",
        plain_rate(found.fpir) + ("" if supports(found.probes_nonmated, found.fpir) else " *"),
        span(found.fpir_ci95),
        f"{found.threshold:.4f}",
        percent(found.tpir, 1),
        span(found.tpir_ci95),
        span(found.tpir_ci95_bootstrap),
        percent(found.rank_one, 1),
        f"{found.probes_mated:,}",
        f"{found.probes_nonmated:,}",
    )


def list_sizes(report: Report) -> str:
    """Thresholds that a certificate may name as floors."""
    if not report.floors:
        return ""
    rows = [
        (
            f"{floor.gallery_size:,}",
            plain_rate(floor.fpir),
            f"{floor.threshold:.4f}",
            f"{floor.threshold_ci95[0]:.3f} to {floor.threshold_ci95[1]:.3f}",
            percent(floor.fpir_measured),
            f"{floor.probes_nonmated:,}",
        )
        for floor in report.floors
    ]
    head = ("List", "FPIR wanted", "Threshold", "95 %, bootstrap", "FPIR at it", "People outside")
    about = paragraph("The longer the list, the more likely somebody on it looks like a passer-by.")
    return (
        "<h2>Threshold by length of the list</h2>"
        + about
        + plots.floor_plot(report.floors)
        + table("Lowest threshold for each false positive rate (R18)", head, rows)
    )


def groups(report: Report) -> str:
    """Rates per group of volunteers."""
    found = report.groups
    if found is None:
        return ""
    head = ("Group", "People", "Compared", "FNMR", "FMR", "TPIR", "FPIR", "No face")
    rows = [
        (
            group.label,
            f"{group.people:,}",
            "yes" if group.enough else "too few",
            *(_group_rate(rate) for rate in (group.fnmr, group.fmr, group.tpir, group.fpir)),
            _group_rate(group.failure_to_acquire),
        )
        for group in found.groups
    ]
    about = paragraph(
        f"Labels are the volunteers' own; the program infers none. Threshold {found.threshold:.4f} (FPIR "
        f"{plain_rate(found.fpir)} over everybody). FMR is of pairs within the group. Groups with fewer than "
        f"{found.least_people} people are listed and not compared; {found.unlabelled:,} people have no label."
    )
    return "<h2>Groups of people</h2>" + about + table("Rate (95 %)", head, rows) + _tests(found)


def _group_rate(rate: GroupRate | None) -> str:
    return "–" if rate is None else f"{100 * rate.rate:.3g} % ({span(rate.ci95)})"


def _tests(found: Groups) -> str:
    if not found.tests:
        return paragraph("Fewer than two groups are large enough, so no difference can be tested.")
    rows = [
        (
            rate_name(test.rate),
            f"{test.p_value:.4f}",
            f"{test.p_holm:.4f}",
            "yes" if test.significant else "no difference shown",
        )
        for test in found.tests
    ]
    note = paragraph(
        f"Permutation test over people, {found.tests[0].permutations:,} divisions, corrected for the number "
        "of tests after Holm. That no difference is shown does not mean that there is none.",
        "small",
    )
    return table("Do the groups differ?", ("Rate", "p", "p, corrected", "Differ"), rows) + note


def comparing(report: Report) -> str:
    """Verification: plots and tables."""
    found = report.verification
    if found is None:
        return ""
    about = paragraph(
        f"Compared: {found.protocol}; {found.mated:,} pairs of one person, {found.nonmated:,} of two people. "
        f"Accuracy {percent(found.accuracy_mean)} (standard deviation {percent(found.accuracy_sd)} over "
        f"{found.folds} folds of people, threshold chosen on the others, both kinds of pairs weighing "
        f"equally). Equal error rate {percent(found.equal_error_rate)}."
    )
    head = ("FMR", "Threshold", "True match rate", "95 %, bootstrap over people")
    rows = [
        (
            plain_rate(float(rate)),
            f"{found.threshold_at_fmr[rate]:.4f}",
            percent(tpr),
            span(found.tpr_at_fmr_ci95[rate]),
        )
        for rate, tpr in found.tpr_at_fmr.items()
    ]
    spoken = spoken_of(report)
    lines = [(f"threshold {spoken.threshold:.4f}", spoken.threshold)] if spoken else []
    return (
        "<h2>Comparing two pictures</h2>"
        + about
        + plots.det_plot(found)
        + table("Detection error trade-off", head, rows)
        + plots.score_plot(found.histogram, lines)
        + table("Share of pairs by score", ("Score", "One person", "Two people"), _bins(report))
    )


def _bins(report: Report) -> list[Row]:
    """The histogram in bins of a tenth."""
    if report.verification is None:
        return []
    histogram = report.verification.histogram
    width = len(histogram.mated) // 20
    rows: list[Row] = []
    for tenth in range(20):
        part = slice(tenth * width, (tenth + 1) * width)
        mated, nonmated = sum(histogram.mated[part]), sum(histogram.nonmated[part])
        if mated or nonmated:
            low = tenth / 10 - 1
            rows.append((f"{low:.1f} to {low + 0.1:.1f}", percent(mated, 3), percent(nonmated, 3)))
    return rows
