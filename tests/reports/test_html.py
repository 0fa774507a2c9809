"""The page's structure, and that nothing from a run can become markup, code or a request to the network."""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, replace
from hashlib import sha256
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest

from tests.reports.records import config, four, row, run
from tests.reports.test_stories import HOSTILE
from ttsi.methods import METHODS, preset
from ttsi.record import Run
from ttsi.reports import columns, questions
from ttsi.reports.finding import Finding, Plot, Table
from ttsi.reports.groups import Group, group_runs
from ttsi.reports.html import page
from ttsi.reports.questions import method_scores
from ttsi.reports.questions.changed_answers import changed_answers
from ttsi.reports.questions.verdict import GATE_WORDS
from ttsi.runs.store import RunRow

VOID = {"meta", "input", "br", "img", "link", "hr"}


class Outline(HTMLParser):
    """Tags in order, attributes, headings, and whether every element is closed where it should be."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.texts: dict[str, str] = {}
        self.problems: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.problems += [f"<{tag}> is never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch(r"h[1-4]", tag):
            self.headings.append(f"{tag} ")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if self._open and re.fullmatch(r"h[1-4]|span", self._open[-1]) and self.headings and "h" in "".join(self._open):
            inside = [tag for tag in self._open if re.fullmatch(r"h[1-4]", tag)]
            if inside:
                self.headings[-1] += data
        self.texts[self._open[-1] if self._open else ""] = data

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags for key, value in attributes.items() if key == name and value]


def made(*runs: Run) -> str:
    html, _ = page(runs or [four()], "0.0")
    return html


def test_the_outline_of_one_run() -> None:
    outline = Outline(made())
    assert outline.problems == []
    assert outline.headings == [
        "h1 ttsi, measure margin, tau 0.95 with m on b",
        "h2 Results",
        "h2 Details",
        "h4 Confidence and correctness",
        "h4 Risk and coverage",
        "h4 Reliability",
        "h4 What a smaller tau would have done",
        "h4 Cost of each stage",
        "h4 Fixed and broken",
        "h4 Which answers were called unsure",
        "h4 Which measure predicts an error",
        "h4 The written examples",
        "h4 Cost",
        "h4 Leak check",
        "h3 Strata",
        "h4 kind",
        "h2 Inputs",
        "h2 Settings and versions",
    ]


def test_the_outline_of_several_runs() -> None:
    other = run([row(i, i > 1, True, 1.0) for i in range(4)], "sure", config("ttsi-paper"))
    base = run(list(four().rows), "base", config("base"))
    outline = Outline(made(four(), four("two", seed=1), other, base))
    assert outline.problems == []
    heads = [heading for heading in outline.headings if heading[:2] in ("h1", "h2", "h3")]
    assert heads == [
        "h1 3 settings on b",
        "h2 Results",
        "h3 Against each other",
        "h2 A base, measure margin, tau 0.95 with m on b",
        "h3 Strata",
        "h2 B ttsi, measure margin, tau 0.95 with m on b",
        "h3 Strata",
        "h2 C ttsi-paper with m on b",
        "h3 Strata",
        "h2 Questions",
        "h3 b, 4 inputs, m",
        "h2 Inputs",
        "h2 Settings and versions",
        "h3 What differs",
    ]
    assert {"h4 Gain of each run", "h4 Samples against accuracy"} <= set(outline.headings)
    ids = outline.attributes("id")
    assert {"index-0", "index-1", "index-2", "index-3", "stories-3-0", "run-A", "run-C"} <= set(ids)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gate", GATE_WORDS)
def test_every_method_and_gate_has_a_page(method: str, gate: str) -> None:
    settings = config(method)
    settings["settings"]["loop"]["awareness"]["gate"] = gate
    outline = Outline(made(run(list(four().rows), "one", settings)))
    assert outline.problems == []
    # Who was adapted must hang on tau alone for one run to say what another tau would have done.
    curve = "h4 What a smaller tau would have done" in outline.headings
    assert curve == (method != "base" and gate in ("unsure", "all"))


def test_a_page_answers_the_questions_that_the_tables_in_markdown_answer() -> None:
    def page_of(method: str) -> Run:
        settings = config(method)
        settings["settings"]["loop"]["awareness"] = asdict(preset(method, "embedded").awareness)
        return run(list(four().rows), method, settings)

    outline = Outline(made(page_of("ttsi"), page_of("base")))
    at = outline.headings.index("h2 Questions")
    assert outline.headings[at + 1 : outline.headings.index("h2 Inputs")] == [
        "h3 b, 4 inputs, m",
        "h4 Methods",
        "h4 Costs",
        "h4 Measures",
        "h3 Every benchmark",
        "h4 By rule",
        "h4 Over all calls",
        "h4 Failures",
    ]
    assert "h2 Questions" not in Outline(made()).headings, "control: one run of other settings than the method's"


def test_what_leaving_out_alone_gives_stands_beside_the_gain() -> None:
    def rows(*shorter: bool) -> list[RunRow]:
        return [
            replace(one, grades={**(one.grades or {}), "strict omit-unstated": {"base": right, "adapted": right}})
            for one, right in zip(four().rows, shorter, strict=True)
        ]

    html, _ = page([run(rows(True, True, True, False), "one", config())], "0")
    assert "h4 Without training" in Outline(html).headings and ">75.0" in html
    assert "h4 Without training" not in Outline(made()).headings, "control: a run that was not graded so"


def test_a_question_of_ones_own_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    def inputs(group: Group) -> Finding:
        table = Table(("", "n"), (("inputs", str(group.n)),))
        return Finding("How many", "Counted once.", table, Plot("many", lambda axes: axes.set_xlabel("inputs")))

    assert "h4 How many" not in Outline(made()).headings  # control
    monkeypatch.setattr(questions, "WITHIN", (*questions.WITHIN, inputs))
    html, figures = page([four()], "0")
    assert "h4 How many" in Outline(html).headings
    assert "many" in figures
    assert ">4</td>" in html


def test_settings_can_be_told_apart() -> None:
    one, other = config(), config()
    other["settings"]["loop"]["synthesis"]["k"] = 1
    outline = Outline(made(four(), run(list(four().rows), "k1", other)))
    named = [heading for heading in outline.headings if heading.startswith("h2 B")]
    assert named == ["h2 B ttsi, measure margin, tau 0.95, k 1 with m on b"]
    assert "h4 Examples per input against accuracy" in outline.headings
    # Control: nothing but K may differ for that picture.
    other["settings"]["loop"]["adaptation"]["lr"] = 1.0
    apart = Outline(made(four(), run(list(four().rows), "k1", other)))
    assert "h4 Examples per input against accuracy" not in apart.headings
    assert one["settings"]["loop"]["synthesis"]["k"] != 1


def test_seconds_that_another_point_spent_are_not_shown() -> None:
    shared = config()
    shared["model"] = {**shared["model"], "recalling": True}
    headings = Outline(made(run(list(four().rows), "one", shared))).headings
    assert not {"h4 Cost", "h4 Cost of each stage"} & set(headings)
    [group] = group_runs([run(list(four().rows), "one", shared)])
    assert columns.TIME[1](group) == "-"
    assert columns.TIME[1](group_runs([four()])[0]) != "-"  # control


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_runs_are_held_against_the_model_alone(order: tuple[int, int]) -> None:
    """As `ttsi compare BASE RUN`: a gain is a gain, in whichever order the runs were named."""
    alone = run([row(i, i == 0, None, 0.1) for i in range(4)], "alone", config("base"))
    better = run([row(i, i == 0, i < 3, 0.1) for i in range(4)], "better")
    groups = group_runs([(alone, better)[place] for place in order])
    table = method_scores.against_each_other(groups).table
    assert table is not None
    assert [(group.letter, group.adapts) for group in groups] == [("A", False), ("B", True)]
    assert [line[0] for line in table.rows] == ["B against A"]
    assert table.rows[0][-1].startswith("+50.0\n")
    # Control: two runs that both adapt keep the order they were named in.
    other = config()
    other["settings"]["loop"]["adaptation"]["lr"] = 1.0
    groups = group_runs([better, run(list(four().rows), "other", other)])
    table = method_scores.against_each_other(groups).table
    assert table is not None and table.rows[0][0] == "B against A"
    assert [group.first.name for group in groups] == ["better", "other"]


def test_rates_count_an_input_once() -> None:
    once, thrice = (group_runs([four(str(i), seed=i) for i in range(n)])[0] for n in (1, 3))
    tables = [changed_answers(group).table for group in (once, thrice)]
    assert tables[0] == tables[1]
    assert tables[0] is not None
    assert tables[0].rows[0][1].startswith("1 of 2: 50.0")
    # One of three seeds fixes the wrong answer: a third of an input.
    third = [row(0, False, i == 0, 0.1) for i in range(3)]
    [group] = group_runs([run([one], str(i), config(seed=i, n=1)) for i, one in enumerate(third)])
    table = changed_answers(group).table
    assert table is not None
    assert table.rows[0][1].startswith("0.3 of 1: 33.3")


def test_ids_are_unique_and_links_lead_somewhere() -> None:
    outline = Outline(made(four(), run(list(four().rows), "base", config("base"))))
    ids = outline.attributes("id")
    assert len(ids) == len(set(ids))
    links = outline.attributes("href") + outline.attributes("xlink:href")
    assert links
    assert [link for link in links if link[:1] != "#" or link[1:] not in ids] == []
    assert set(re.findall(r"url\(#([^)]*)\)", made())) <= set(Outline(made()).attributes("id"))


@pytest.mark.parametrize(
    "rows",
    [
        [row(0, None), row(1, None)],
        [row(0)],
        [replace(row(0), question=None, grades=None)],
        [replace(row(0, False), episode=replace(row(0).episode, base=None, adapted=None, awareness=None, error="x"))],
        [row(0, True, True, 1.0), row(1, True, True, 1.0)],
    ],
    ids=["no gold", "one input", "old folder", "failed", "all sure"],
)
@pytest.mark.parametrize("method", ["ttsi", "base"])
def test_poor_runs_make_a_page_too(rows: list[RunRow], method: str) -> None:
    outline = Outline(made(run(rows, "poor", config(method, n=9))))
    assert outline.problems == []
    assert "h2 Inputs" in outline.headings


def foreign(html: str) -> list[str]:
    """What a page would load from elsewhere."""
    outline = Outline(html)
    loads = [attributes.get(key) or "" for _, attributes in outline.tags for key in ("src", "srcset", "action", "data")]
    loads += [attributes.get("href") or "" for tag, attributes in outline.tags if tag == "link"]
    loads += re.findall(r"@import[^;]*|url\((?!#)[^)]*\)", html)
    return [load for load in loads if load]


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert foreign(made()) == []


@pytest.mark.parametrize(
    "added",
    ["<img src='https://x'>", "<link rel=stylesheet href=x.css>", "<style>@import 'x';</style>", "<style>a{b:url(x)}"],
)
def test_control_a_load_is_seen(added: str) -> None:
    assert foreign(made().replace("</body>", f"{added}</body>")) != []


def hostile(text: str) -> Run:
    """A run in which every text that comes from elsewhere is this one."""
    changed = row(1, False, True, 0.1, query=text)
    settings: Any = config()
    settings["settings"]["model"] = text
    settings["settings"]["method"] = text
    settings["data"]["benchmark"] = text
    settings["settings"]["loop"]["awareness"]["measure"] = text
    awareness = changed.episode.awareness
    assert awareness is not None
    awareness = replace(awareness, measure=text, measures={text: 0.1})
    examples = tuple(replace(example, query=text, refused=text) for example in changed.episode.examples)
    episode = replace(changed.episode, input_id=text, awareness=awareness, examples=examples)
    rows = [replace(changed, episode=episode, tags={text: text}), replace(row(2), tags={text: "other"})]
    return run(rows, text, settings)


def shape(html: str) -> list[tuple[str, list[str]]]:
    """Tags and attribute names; equal shapes mean that no text became markup."""
    return [(tag, sorted(attributes)) for tag, attributes in Outline(html).tags]


def made_harmless(*more: Run) -> str:
    return made(*more, hostile("harmless"))


@pytest.mark.parametrize("text", [*HOSTILE[:3], "".join(HOSTILE)])
def test_hostile_text_changes_no_markup(text: str) -> None:
    harmless, attacked = made_harmless(), made(hostile(text))
    assert Outline(attacked).problems == []
    assert shape(attacked) == shape(harmless)
    assert attacked.count("<script") == harmless.count("<script")


def test_hostile_text_beside_another_run_changes_no_markup() -> None:
    assert shape(made(four(), hostile("".join(HOSTILE)))) == shape(made_harmless(four()))


def test_control_text_that_is_not_escaped_changes_the_markup() -> None:
    harmless = made(hostile("harmless"))
    assert shape(harmless.replace("harmless", HOSTILE[0], 1)) != shape(harmless)


def test_paths_of_the_machine_are_not_passed_on() -> None:
    assert "/secret" not in made()
    assert "settings.loop.awareness.tau" in made()


def test_the_policy_names_the_one_script() -> None:
    html = made()
    [script] = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    [policy] = [value for value in Outline(html).attributes("content") if "script-src" in value]
    assert f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert not [name for _, attributes in Outline(html).tags for name in attributes if name.startswith("on")]


DANGEROUS = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|fetch\(|XMLHttp|import\("


def test_the_script_makes_no_markup_of_strings() -> None:
    script = files("ttsi.reports").joinpath("page.js").read_text(encoding="utf-8")
    assert re.findall(DANGEROUS, script) == []
    assert "</script" not in script
    assert re.findall(DANGEROUS, script.replace("element.append", "element.innerHTML = ")) != []


def test_every_colour_has_a_light_and_a_dark_value() -> None:
    style = files("ttsi.reports").joinpath("page.css").read_text(encoding="utf-8")
    light, dark, *_ = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    named = [set(re.findall(r"(--[\w-]+):", block)) for block in (light, dark)]
    used = set(re.findall(r"var\((--[\w-]+)\)", made()))
    assert named[0] == named[1]
    assert used <= named[0]
    assert {"--right", "--wrong", "--accent", "--stage-synthesis"} <= used
    drawings = "".join(re.findall(r"<svg.*?</svg>", made(), re.DOTALL))
    assert re.findall(r"#[0-9a-f]{6}\b", drawings) == [], "a colour that does not change in the dark"


def test_the_same_runs_make_the_same_page() -> None:
    assert made() == made()
