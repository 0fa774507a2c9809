"""The findings say what happened, and never more than the interval allows."""

from __future__ import annotations

from dataclasses import replace

from tests.reports.records import config, four, row, run
from ttsi.reports import naming
from ttsi.reports.finding import Finding
from ttsi.reports.groups import group_runs
from ttsi.reports.questions import verdict
from ttsi.reports.questions.costs import cost, costs
from ttsi.reports.questions.method_scores import gains, methods, overview
from ttsi.reports.questions.stored_adapters import stored_adapters
from ttsi.runs.store import RunRow
from ttsi.types import Adaptation, Example


def test_the_whole_story_of_a_run() -> None:
    [group] = group_runs([four()])
    assert verdict.sentences(group) == (
        "On 4 inputs of b the model alone was right 50.0\xa0% of the time. "
        "It was unsure about 3 of them; for these it wrote 6 similar examples, kept 3, and learned them in a temporary "
        "adapter per input. "
        "In the end 50.0\xa0% were right: 1 answer was fixed and 1 broken. "
        "That is 0.0 points (95 % interval \N{MINUS SIGN}75.0 to +75.0, p = 1): the interval includes zero, so this "
        "does not show that adapting helps or harms."
    )


def test_scores_name_the_inputs_that_they_are_over() -> None:
    rows = [*four().rows, row(4, None, sure=0.3)]
    [group] = group_runs([run(rows)])
    words = verdict.sentences(group)
    assert words.startswith(
        "On 4 graded inputs of b the model alone was right 50.0\xa0% of the time; 1 other is not graded."
    )
    assert "unsure about 4 of all 5; " in words
    [more] = group_runs([run([*rows, row(5, None)])])
    assert "; 2 others are not graded." in verdict.sentences(more)
    control = verdict.sentences(group_runs([run(rows[:4])])[0])
    assert control.startswith("On 4 inputs of b ") and "not graded" not in control and "3 of them; " in control


def test_tables_of_scores_name_the_graded_inputs_and_the_others() -> None:
    def column(finding: Finding, head: str = "n") -> list[str]:
        assert finding.table is not None
        return [line[finding.table.head.index(head)] for line in finding.table.rows]

    rows = [*four().rows, row(4, None)]
    pair = [run(rows), run(rows, "two", config("ttsi-paper", n=5))]
    whole = [run(rows[:4]), run(rows[:4], "two", config("ttsi-paper"))]
    for question in (overview, gains, methods):
        assert column(question(group_runs(pair))) == ["4 (1 not graded)"] * 2
        assert column(question(group_runs(whole))) == ["4"] * 2  # control
    assert column(costs(group_runs(pair))) == ["5", "5"]  # every input costs
    stored = config(n=5)
    stored["settings"]["library"] = {"folder": "lib"}
    quarters = stored_adapters(group_runs([run(rows, settings=stored)])[0])
    assert column(quarters) == ["1", "1", "2", "0 (1 not graded)"]


def test_what_the_library_answered_was_not_trained_for() -> None:
    rows = list(four().rows)
    sentence = "unsure about 3 of them, and the library's adapters answered 1; for the others it wrote"
    assert sentence not in verdict.sentences(group_runs([run(rows)])[0])  # control
    place = next(i for i, one in enumerate(rows) if one.unsure)
    episode = replace(rows[place].episode, adaptation=Adaptation("library", library_entry="abc"))
    rows[place] = replace(rows[place], episode=episode)
    assert sentence in verdict.sentences(group_runs([run(rows)])[0])


def changed(n: int, base: bool, adapted: bool) -> list[RunRow]:
    return [row(i, base, adapted, 0.1) for i in range(n)]


def test_a_gain_a_loss_and_neither_are_told_apart() -> None:
    texts = [
        verdict.sentences(group_runs([run(rows)])[0])
        for rows in (changed(9, False, True), changed(9, True, False), changed(9, True, True))
    ]
    assert "That is a gain of +100.0 points" in texts[0]
    assert "That is a loss of \N{MINUS SIGN}100.0 points" in texts[1]
    assert "does not show that adapting helps or harms" in texts[2]
    assert "p = 0.0039" in texts[0]


def meaning(*rows: RunRow) -> str:
    return verdict.sentences(group_runs([run(list(rows))])[0]).rpartition(" broken. ")[2]


def test_why_there_is_no_interval_is_said_as_it_is() -> None:
    doubt = "so this does not show that adapting helps or harms."
    assert meaning(*changed(3, True, True)) == f"That is 0.0 points (p = 1): no verdict changed, {doubt}"
    assert meaning(*changed(1, False, True)) == f"That is +100.0 points (p = 1): there is only one input, {doubt}"
    assert meaning(*changed(2, False, True)) == f"That is +100.0 points (p = 0.5): all inputs changed alike, {doubt}"
    assert "95 % interval" in meaning(*four().rows)  # control
    seeds = [run(changed(2, True, True), str(seed), config(seed=seed, n=2)) for seed in (0, 1)]
    assert verdict.sentences(group_runs(seeds)[0]).endswith(f"That is 0.0 points: no verdict changed, {doubt}")


def unsure_part(*rows: RunRow, method: str = "ttsi") -> str:
    words = verdict.sentences(group_runs([run(list(rows), settings=config(method, n=len(rows)))])[0])
    return words.partition("of the time. ")[2].partition(" In the end ")[0]


def with_examples(row: RunRow, *examples: Example) -> RunRow:
    return replace(row, episode=replace(row.episode, examples=examples))


def test_what_was_not_done_is_not_told() -> None:
    idle = "It was unsure about none of them; no input was adapted."
    sure = [row(i, True, sure=1.0) for i in range(3)]
    assert unsure_part(*sure) == unsure_part(*sure, method="ttsi-icl") == unsure_part(*sure, method="ask-again") == idle
    in_words = replace(row(0), episode=replace(with_examples(row(0)).episode, adaptation=Adaptation("none")))
    assert unsure_part(in_words) == "It was unsure about 1 of them; no input was adapted."
    refused = Example("hotel", (), "raw", "copy: the request is the input itself")
    assert unsure_part(with_examples(row(0), refused)) == (
        "It was unsure about 1 of them; for these it wrote 1 similar example and kept none, so nothing was learned."
    )
    assert "for these it had no similar examples, so nothing was learned." in unsure_part(with_examples(row(0)))
    assert "for these it wrote 2 similar examples, kept 1, and learned them" in unsure_part(row(0))  # control
    stored = replace(row(0), episode=replace(with_examples(row(0)).episode, adaptation=Adaptation("library")))
    assert unsure_part(stored) == "It was unsure about 1 of them, and the library's adapters answered 1."


def test_one_input_is_no_inputs() -> None:
    assert verdict.sentences(group_runs([run([row(0)])])[0]).startswith("On 1 input of b the model")
    assert verdict.sentences(group_runs([run([row(0, None)])])[0]).startswith("The model answered 1 input of b;")


def test_a_failed_input_costs_no_time_and_is_not_one_that_is_not_adapted() -> None:
    def costs_of(*rows: RunRow) -> tuple[str, dict[str, str]]:
        finding = cost(group_runs([run(list(rows))])[0])
        assert finding.table is not None
        return finding.reading, {line[0]: line[-1] for line in finding.table.rows}

    failed = replace(row(2, False), episode=replace(row(2).episode, error="prompt: long", seconds={}))
    reading, counts = costs_of(row(0, sure=0.1), failed)
    assert reading.endswith("1 input that failed has no time.")
    assert counts["together"] == counts["an input that is adapted"] == "1"
    assert "an input that is not" not in counts and "an input that failed" not in counts
    late = replace(failed, episode=replace(failed.episode, seconds={"answer": 3.0}))
    assert costs_of(row(0), late)[1]["an input that failed"] == "1"
    reading, counts = costs_of(row(0, sure=0.1), row(1, sure=1.0))  # control
    assert counts["an input that is not"] == "1" and "failed" not in reading


def test_other_methods_and_missing_gold() -> None:
    base = verdict.sentences(group_runs([run(list(four().rows), "x", config("base"))])[0])
    assert base.endswith("It was only measured and asked: this method adapts nothing.")
    ungraded = verdict.sentences(group_runs([run([row(0, None)])])[0])
    assert "nothing was graded" in ungraded
    assert "gain" not in ungraded
    in_context = verdict.sentences(group_runs([run(list(four().rows), "x", config("ttsi-icl"))])[0])
    assert "put them into the prompt" in in_context


def test_what_each_method_did_is_said_as_it_is() -> None:
    def text_of(method: str) -> str:
        return verdict.sentences(group_runs([run(list(four().rows), "x", config(method))])[0])

    assert "one adapter had learned the training data beforehand" in text_of("sft")
    assert "the majority of 5 samples was taken" in text_of("vote")
    assert "shown its first answer and asked again" in text_of("ask-again")
    assert "gave way to the next likeliest tool's call without one" in text_of("rerank")
    assert "took the 6 similar examples nearest" in text_of("icl")
    for method in ("sft", "vote", "ask-again", "rerank", "icl"):
        assert " wrote " not in text_of(method)
    assert " wrote " in text_of("ttsi")  # control


def test_an_interval_without_a_test_is_a_hint() -> None:
    five = [row(i, False, True, 0.1) for i in range(5)] + [row(i, True, True, 0.1) for i in range(5, 20)]
    [group] = group_runs([run(five)])
    assert verdict.sentences(group).endswith("so take it for a hint.")
    six = [row(9, False, True, 0.1), *five[:5], *five[6:9]]
    assert "more than chance" in verdict.sentences(group_runs([run(six)])[0])


def test_seeds_are_named_and_have_no_p_value() -> None:
    [group] = group_runs([four(), four("two", seed=1)])
    assert naming.seeds(group) == "seeds 0, 1"
    assert "Numbers are means over 2 seeds." in verdict.sentences(group)
    assert "p =" not in verdict.sentences(group)


def test_an_unfinished_run_is_called_so() -> None:
    short = run([row(0)], "short", config(n=640))
    assert naming.unfinished_warning(group_runs([short])[0]) == (
        "Not finished: short holds 1 of 640 inputs. Everything here counts only these."
    )
    assert naming.unfinished_warning(group_runs([four()])[0]) is None


def test_scores_of_different_inputs_are_not_ranked() -> None:
    base = run(list(four().rows), "base", config("base"))
    same = verdict.best_of(group_runs([four(), base]))
    best = "A (base, measure margin, tau 0.95 with m on b) and B (ttsi, measure margin, tau 0.95 with m on b)"
    assert same.endswith(f"{best} has the best final score: 50.0\xa0%, 95 % interval 15.0 to 85.0.")
    better = run([row(i, True, True, 1.0) for i in range(4)], "better", config("ttsi-paper"))
    alone = verdict.best_of(group_runs([four(), better]))
    assert "B (ttsi-paper with m on b) has the best final score: 100.0" in alone
    other = verdict.best_of(group_runs([four(), replace(base, rows=base.rows[:2])]))
    assert "compare gains, not scores" in other
    assert naming.title_of_several(group_runs([four(), base])) == "2 settings on b"
