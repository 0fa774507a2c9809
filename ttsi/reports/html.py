"""Runs as one self-contained HTML page: no network, no fonts or scripts from elsewhere, light and dark.

Everything that comes from a run (requests, answers, names) is untrusted. The template escapes it; the episodes travel
as compressed JSON (`ttsi.reports.stories`) and are put into the page as text; and the page's own policy allows one
script, named by its hash, so that even markup that slipped through could not run.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from ttsi.record import Run
from ttsi.reports import drawing, naming, questions
from ttsi.reports.command import commands, provenance
from ttsi.reports.finding import Finding
from ttsi.reports.groups import Group, group_runs
from ttsi.reports.questions import verdict
from ttsi.reports.questions.configuration import settings
from ttsi.reports.questions.strata import strata
from ttsi.reports.stories import pack_episodes

_UNFIT = re.compile(r"[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def page(runs: Sequence[Run], version: str) -> tuple[str, dict[str, Figure]]:
    """The page, and the figures in it by name (for `drawing.save`).

    Args:
        runs: at least one.
        version: of ttsi, for the foot.

    Raises:
        ConfigError: two runs have the same settings and seed.
    """
    groups, figures = group_runs(runs), dict[str, Figure]()
    script, style = _file("page.js"), _file("page.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(_file("page.html.jinja")).render(
        title=naming.title(groups[0]) if len(groups) == 1 else naming.title_of_several(groups),
        best=verdict.best_of(groups),
        version=version,
        policy=_policy(script),
        script=Markup(script),
        style=Markup(style),
        overview=_render_all(questions.side_by_side(groups), figures),
        comparisons=[(name, _render_all(one, figures)) for name, one in questions.comparisons(groups)],
        benchmarks=_render_all(questions.benchmarks(groups), figures),
        groups=[_group(group, figures) for group in groups],
        opened=next((group.letter for group in groups if group.adapts), groups[0].letter),
        runs=[_episodes(run, group) for group in groups for run in group.runs],
        settings=_render_all(settings(groups), figures),
    )
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", html), figures


def _file(name: str) -> str:
    return files("ttsi.reports").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    allowed = base64.b64encode(sha256(script.encode()).digest()).decode()
    inline = "style-src 'unsafe-inline'"  # the drawings carry style attributes
    return f"default-src 'none'; script-src 'sha256-{allowed}'; {inline}; base-uri 'none'; form-action 'none'"


def _render_all(findings: Iterable[Finding], figures: dict[str, Figure]) -> list[dict[str, Any]]:
    """What the template prints of findings that have something to show; their figures are added to `figures`."""
    return [_finding(one, figures) for one in findings if one.table is not None or one.plot is not None]


def _finding(finding: Finding, figures: dict[str, Figure]) -> dict[str, Any]:
    svg = None
    if finding.plot is not None:
        figure = figures[finding.plot.name] = drawing.figure_of(finding.plot)
        svg = Markup(drawing.svg(figure, finding.plot.name, f"{finding.title}. {finding.reading}"))
    made = {"commands": commands(finding.groups), "provenance": provenance(finding.groups)} if finding.groups else {}
    return {**vars(finding), "svg": svg, **({"commands": [], "provenance": ""} | made)}


def _group(group: Group, figures: dict[str, Figure]) -> dict[str, Any]:
    return {
        "letter": group.letter,
        "title": naming.title(group),
        "sentences": verdict.sentences(group),
        "warning": naming.unfinished_warning(group),
        "tiles": verdict.tiles(group),
        "pooled": len(group.runs) > 1,
        "findings": _render_all(questions.within(group), figures),
        "strata": _render_all(strata(group), figures),
    }


def _episodes(run: Run, group: Group) -> dict[str, Any]:
    seed = f", {naming.seeds(replace(group, runs=(run,)))}" if len(group.runs) > 1 else ""
    return {"name": f"{naming.letter_and_title(group)}{seed}", "packed": pack_episodes(run)}
