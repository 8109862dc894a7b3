"""The report as one HTML page that needs nothing else: first for who decides, then for who checks."""

from __future__ import annotations

from html import escape

from edgeagent.evaluation import page_appendix, page_first, page_results
from edgeagent.evaluation.report_model import Report
from edgeagent.evaluation.words import NARROW

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#111;background:#fff}
body{max-width:58rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem}h2{font-size:1.25rem;margin:2.4rem 0 .5rem}
h2{border-top:2px solid #111;padding-top:.6rem}h3{font-size:1rem;margin:1.4rem 0 .3rem}
p,ul{margin:.4rem 0 .8rem;max-width:46rem}table{border-collapse:collapse;margin:.5rem 0 1rem}
caption{text-align:left;font-weight:600;padding:.3rem 0}th,td{text-align:left;vertical-align:top}
th,td{padding:.25rem .9rem .25rem 0;border-bottom:1px solid #bbb}th{font-weight:600}
td.n,th.n{white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}td.f{overflow-wrap:anywhere}th.n{white-space:normal}
.figures{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0}
.figure{flex:1 1 18rem;border:3px solid #111;padding:.8rem 1rem}
.figure b{display:block;font-size:2.6rem;line-height:1.1}
.warn{border-left:6px solid #a00;padding:.2rem 0 .2rem 1rem;margin:1rem 0}.small{font-size:.875rem}
svg{display:block;max-width:100%;height:auto;margin:.5rem 0}
@media print{body{margin:0;max-width:none;font-size:11pt}h2,h3,caption{break-after:avoid}
tr,svg,.figure,.warn{break-inside:avoid}}
"""


def render(report: Report) -> str:
    """The page.

    Raises:
        ConfigError: matplotlib, which draws the plots, is not installed.
    """
    title = "How well this model pack recognises people"
    parts = [
        f"<h1>{title}</h1>",
        page_first.made(report),
        page_first.in_short(report),
        page_first.choices(report),
        page_first.beware(report),
        page_results.searching(report),
        page_results.list_sizes(report),
        page_results.groups(report),
        page_results.comparing(report),
        page_appendix.not_acquired(report),
        page_appendix.suspicions(report),
        page_appendix.excluded(report),
        page_appendix.provenance(report),
        page_appendix.terms(),
    ]
    body = "\n".join(part for part in parts if part).replace(" %", f"{NARROW}%")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style></head>'
        f"<body><main>\n{body}\n</main></body></html>\n"
    )
