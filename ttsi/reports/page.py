"""How do runs become one page that opens anywhere?

Inputs: runs. Outputs: one self-contained HTML text: no network, no fonts or scripts from elsewhere, light and dark.

Everything that comes from a run (requests, answers, names) is untrusted. The template escapes it; the stories travel as
compressed JSON (`ttsi.reports.stories`) and are put into the page as text; and the page's own policy allows one script,
named by its hash, so that even markup that slipped through could not run. An engineering part: the paper
(arXiv:2510.07841) describes none.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ttsi.reports import naming, pairing, pictures, plots, sections, words
from ttsi.reports.pictures import Picture
from ttsi.reports.record import Group, Run, groups
from ttsi.reports.stories import packed

_UNFIT = re.compile(r"[^\t\n\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def page(runs: Sequence[Run], version: str) -> tuple[str, list[Picture]]:
    """The page, and the pictures in it (for `plots.save`).

    Args:
        runs: at least one.
        version: of ttsi, for the foot.
    """
    found = groups(runs)
    across, within = pictures.across(found), [pictures.within(group) for group in found]
    script, style = _part("page.js"), _part("page.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    html = environment.from_string(_part("page.html.jinja")).render(
        title=naming.title(found[0]) if len(found) == 1 else naming.several(found),
        compared=naming.compared(found),
        version=version,
        policy=_policy(script),
        script=Markup(script),
        style=Markup(style),
        groups=[_group(group, drawn) for group, drawn in zip(found, within, strict=True)],
        results=sections.results(found),
        versus=sections.versus(found),
        across=[_drawn(picture) for picture in across],
        runs=[_stories(run, group) for group in found for run in group.runs],
        settings=sections.settings(found),
    )
    return _fit(html), [*across, *(picture for drawn in within for picture in drawn)]


def _fit(html: str) -> str:
    """Without what HTML and UTF-8 cannot hold: control characters and halves of surrogate pairs."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", html)


def _part(name: str) -> str:
    return files("ttsi.reports").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    allowed = base64.b64encode(sha256(script.encode()).digest()).decode()
    inline = "style-src 'unsafe-inline'"  # the drawings carry style attributes
    return f"default-src 'none'; script-src 'sha256-{allowed}'; {inline}; base-uri 'none'; form-action 'none'"


def _drawn(picture: Picture) -> dict[str, Any]:
    svg = plots.svg(picture.figure, picture.name, f"{picture.title}. {picture.reading}")
    return {"title": picture.title, "reading": picture.reading, "svg": Markup(svg), "table": picture.table}


def _group(group: Group, drawn: Sequence[Picture]) -> dict[str, Any]:
    return {
        "letter": group.letter,
        "title": naming.title(group),
        "findings": words.findings(group),
        "warning": words.unfinished(group),
        "tiles": _tiles(group),
        "pictures": [_drawn(picture) for picture in drawn],
        "pooled": len(group.runs) > 1,
        "outcome": sections.outcome(group),
        "flagged": sections.flagged(group.runs[0], group.matcher),
        "measures": sections.measures(group.runs[0], group.matcher, group.measure),
        "examples": sections.examples(group),
        "closeness": sections.closeness(group),
        "costs": sections.costs(group),
        "strata": sections.strata(group),
    }


def _tiles(group: Group) -> list[tuple[str, str, str]]:
    """(name, number, interval) of the headline."""
    base, adapted, gain = words.score(group, "base"), words.score(group, "adapted"), pairing.gain(group)
    if base is None:
        return []
    tiles = [("model alone", words.percent(base[0]), words.between(base[1]))]
    if gain is not None and adapted is not None:
        tiles.append(("improved", words.percent(adapted[0]), words.between(adapted[1])))
        tiles.append(("gain, points", words.signed(gain.points), words.between_points(gain)))
    return tiles


def _stories(run: Run, group: Group) -> dict[str, Any]:
    several = f", {words.seeds(Group(group.letter, (run,)))}" if len(group.runs) > 1 else ""
    return {"name": f"{group.letter}: {naming.title(group)}{several}", "packed": packed(run)}
