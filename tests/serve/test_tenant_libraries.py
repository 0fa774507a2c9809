"""A library per key in the server: it answers its own key, and no other one; deadlines and damage leave an answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.library.streams import OTHER, QUESTIONS
from tests.serve.test_worker import job
from ttsi.config import LibraryConfig
from ttsi.errors import LibraryError
from ttsi.library import AdapterLibrary, LibraryUse, prepare
from ttsi.models.scripted import DemoModel
from ttsi.serve.api_keys import LOCAL
from ttsi.serve.improver import improver_of
from ttsi.serve.interruptible import DeadlineExceeded, Interrupts
from ttsi.serve.pipe import AnswerJob, Outcome, Start
from ttsi.serve.tenant_libraries import MOST_OPEN, TenantLibraries, tenant_folder
from ttsi.serve.worker import answer_job

ROOT = Path(__file__).parents[2]


@pytest.fixture
def libraries(tmp_path: Path) -> Iterator[TenantLibraries]:
    made = TenantLibraries(LibraryConfig(folder=tmp_path), [OTHER])
    yield made
    made.close()


def request(text: str) -> AnswerJob:
    made = job(text)
    awareness = replace(made.config.awareness, gate="unsure", measure="answer_mean", tau=-0.3)
    synthesis = replace(made.config.synthesis, k=3)
    return made.model_copy(update={"config": replace(made.config, awareness=awareness, synthesis=synthesis)})


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.episodes[0].adaptation.status for outcome in outcomes]


def serve(libraries: TenantLibraries, tenant: str, questions: tuple[str, ...] = QUESTIONS) -> list[Outcome]:
    outcomes = []
    for text in questions:
        wanted = request(text).model_copy(update={"tenant": tenant})
        outcomes.append(answer_job(DemoModel(), wanted, Interrupts(), None, improver_of(libraries.of(tenant))))
        assert libraries.learn(DemoModel(), wanted, outcomes[-1], Interrupts())
    return outcomes


NONE = TenantLibraries(None)
"""A server without libraries."""


def test_a_key_is_answered_by_its_own_library(libraries: TenantLibraries) -> None:
    outcomes = serve(libraries, "ada")
    assert all(outcome.state == "answered" and outcome.fallback is None for outcome in outcomes)
    assert "library" in statuses(outcomes)
    assert "library" not in statuses(serve(NONE, "ada"))  # the control: without one there is no such answer


def test_no_key_is_answered_by_what_another_taught(libraries: TenantLibraries) -> None:
    serve(libraries, "ada")
    ada = libraries.of("ada")
    assert ada is not None
    assert [entry.status for entry in ada.library.entries] == ["admitted"]
    alone = [outcome.choices for outcome in serve(NONE, "bob", QUESTIONS[:3])]
    bob = serve(libraries, "bob", QUESTIONS[:3])
    assert statuses(bob).count("library") == 0
    assert [outcome.choices for outcome in bob] == alone
    tries = [entry.tries for entry in ada.library.entries]
    assert "library" in statuses(serve(libraries, "ada", QUESTIONS[:3]))  # the control: ada's own key finds it
    assert [entry.tries for entry in ada.library.entries] != tries


def prepare_for(folder: Path) -> str:
    """What `ttsi library prepare FOLDER` does for the tools of the requests; the adapter's SHA-256."""
    wanted = request(QUESTIONS[0])
    loop = replace(wanted.config, synthesis=replace(wanted.config.synthesis, source="schema"))
    with AdapterLibrary(folder) as library, library.step(f"after {library.last_tag}"):
        use = LibraryUse(library, LibraryConfig(), [OTHER], "prepare")
        entry = prepare(use, DemoModel(), wanted.options.item.tools, loop)
    assert entry.status == "admitted"
    return entry.sha256


@pytest.mark.parametrize("tenant", [LOCAL, "ada"])
def test_what_the_operator_prepared_answers_the_first_request(tmp_path: Path, tenant: str) -> None:
    sha256 = prepare_for(tmp_path)
    libraries = TenantLibraries(LibraryConfig(folder=tmp_path), [OTHER])
    [outcome] = serve(libraries, tenant, QUESTIONS[:1])
    libraries.close()
    assert outcome.episodes[0].adaptation.library_entry
    assert outcome.episodes[0].adaptation.adapter_sha256 == sha256
    elsewhere = TenantLibraries(LibraryConfig(folder=tmp_path / "elsewhere"), [OTHER])  # the control
    [outcome] = serve(elsewhere, tenant, QUESTIONS[:1])
    elsewhere.close()
    assert not outcome.episodes[0].adaptation.library_entry


def test_a_library_can_answer_what_it_has_an_adapter_for(tmp_path: Path) -> None:
    prepare_for(tmp_path)
    libraries = TenantLibraries(LibraryConfig(folder=tmp_path), [OTHER])
    wanted = request(QUESTIONS[0]).model_copy(update={"tenant": LOCAL})
    others = replace(wanted.options, item=OTHER)
    assert libraries.can_answer(DemoModel(), wanted)
    assert not libraries.can_answer(DemoModel(), wanted.model_copy(update={"options": others}))  # the controls
    assert not NONE.can_answer(DemoModel(), wanted)
    libraries.close()


def test_a_key_uses_a_copy_of_the_operators_adapter_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    prepare_for(tmp_path)
    libraries = TenantLibraries(LibraryConfig(folder=tmp_path), [OTHER])
    serve(libraries, "ada")
    libraries.of("bob")
    with AdapterLibrary(tmp_path, writable=False) as operators:
        [theirs] = operators.entries
    counts = {}
    for key in ("ada", "bob"):
        use = libraries.of(key)
        assert use is not None
        [own] = use.library.entries
        assert (own.sha256, own.status, own.prepared) == (theirs.sha256, "admitted", True)
        counts[key] = own.tries
    assert (theirs.tries, counts["bob"]) == (0, 0)
    assert counts["ada"] > 0
    libraries.close()


def test_a_newer_adapter_of_the_operator_takes_the_place_of_the_older_copy(tmp_path: Path) -> None:
    def copies(tenant: str) -> list[str]:
        libraries = TenantLibraries(LibraryConfig(folder=tmp_path), [OTHER])
        use = libraries.of(tenant)
        assert use is not None
        hashes = [entry.sha256 for entry in use.library.entries]
        libraries.close()
        return hashes

    prepare_for(tmp_path)
    with AdapterLibrary(tmp_path) as operators:
        [old] = operators.entries
        first = operators.adapter(old)
    assert copies("ada") == copies("ada") == [old.sha256]
    with AdapterLibrary(tmp_path) as operators, operators.step("again"):
        operators.remove(old)
        new = operators.add_entry(old, first + b" ")
        operators.set_status(new, "admitted")
    assert copies("ada") == [new.sha256] != [old.sha256]
    with AdapterLibrary(tmp_path) as operators, operators.step("refuse"):
        operators.set_status(new, "refused", "the control: no such adapter is given")
    assert copies("bob") == []


def test_a_damaged_adapter_of_the_operator_is_named_and_the_others_are_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_for(tmp_path)
    with AdapterLibrary(tmp_path) as operators, operators.step("another"):
        [whole] = operators.entries
        damaged = operators.add_entry(replace(whole, tools_hash="other"), b"another")
        operators.set_status(damaged, "admitted")
    (tmp_path / "adapters" / f"{damaged.id}.safetensors").write_bytes(b"damaged")
    libraries = TenantLibraries(LibraryConfig(folder=tmp_path), [OTHER])
    use = libraries.of("ada")
    assert use is not None
    assert [entry.sha256 for entry in use.library.entries] == [whole.sha256]
    assert f"{damaged.id}.safetensors is not as it was written" in caplog.text
    libraries.close()


def test_an_adapter_that_fits_another_model_is_said_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare_for(tmp_path)
    libraries = TenantLibraries(LibraryConfig(folder=tmp_path), [OTHER])
    serve(libraries, LOCAL, QUESTIONS[:1])
    assert "fits" not in caplog.text  # the control
    libraries.close()
    with AdapterLibrary(tmp_path) as operators, operators.step("other"):
        [entry] = operators.entries
        operators.remove(entry)
        other = operators.add_entry(replace(entry, key=replace(entry.key, rank=3)), b"another rank")
        operators.set_status(other, "admitted")
    libraries = TenantLibraries(LibraryConfig(folder=tmp_path), [OTHER])
    serve(libraries, LOCAL, QUESTIONS[:2])
    libraries.close()
    assert caplog.text.count("no admitted adapter in") == 1


def test_the_folders_do_not_show_the_names_of_keys(tmp_path: Path, libraries: TenantLibraries) -> None:
    serve(libraries, "ada")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [tenant_folder(tmp_path, "ada").name]
    assert "ada" not in tenant_folder(tmp_path, "ada").name


def test_a_deadline_while_it_learns_leaves_the_answer_and_a_whole_library(
    tmp_path: Path, libraries: TenantLibraries
) -> None:
    class Late(DemoModel):
        """A model whose next block of adapters, the candidate's, meets the deadline."""

        def adapted_from(self, files, jobs, config, seeds):  # type: ignore[no-untyped-def]
            interrupts.interrupt(DeadlineExceeded)
            return super().adapted_from(files, jobs, config, seeds)

    wanted, interrupts = request(QUESTIONS[1]).model_copy(update={"tenant": "ada"}), Interrupts()
    outcome = answer_job(DemoModel(), wanted, Interrupts(), None, improver_of(libraries.of("ada")))
    assert (outcome.state, outcome.fallback, statuses([outcome])) == ("answered", None, ["trained"])
    assert not libraries.learn(Late(), wanted, outcome, interrupts)
    ada = libraries.of("ada")
    assert ada is not None
    assert ada.library.entries == []
    assert libraries.learn(DemoModel(), wanted, outcome, Interrupts())
    assert ada.library.entries == []  # it is not tried again and again
    libraries.close()
    again = TenantLibraries(LibraryConfig(folder=tmp_path), [OTHER])
    assert again.learn(DemoModel(), wanted, outcome, Interrupts())  # the control: with time it learns
    learned = again.of("ada")
    assert learned is not None
    assert len(learned.library.entries) == 1
    again.close()


def test_a_library_that_cannot_be_written_leaves_the_adapted_answer(
    libraries: TenantLibraries, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise LibraryError("the disk is full")

    use = libraries.of("ada")
    monkeypatch.setattr(AdapterLibrary, "step", full)
    outcome = answer_job(DemoModel(), request(QUESTIONS[0]), Interrupts(), None, improver_of(use))
    assert statuses([outcome]) == ["trained"]
    assert "the disk is full" in caplog.text


def test_a_damaged_library_is_named_and_its_key_served_without_one(
    tmp_path: Path, libraries: TenantLibraries, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tenant_folder(tmp_path, "ada")
    folder.mkdir(parents=True)
    (folder / "library.db").write_bytes(b"nothing of the kind" * 100)
    assert libraries.of("ada") is None
    assert str(folder) in caplog.text
    assert libraries.of("bob") is not None


def test_few_libraries_are_open_at_a_time_and_a_closed_one_opens_again(libraries: TenantLibraries) -> None:
    serve(libraries, "ada")
    for number in range(MOST_OPEN):
        assert libraries.of(f"key {number}") is not None
    again = libraries.of("ada")
    assert again is not None
    assert [entry.status for entry in again.library.entries] == ["admitted"]


@pytest.mark.parametrize(("folder", "code"), [("inside", 0), ("outside", 1)])
def test_the_worker_writes_in_the_folder_of_its_libraries_only(tmp_path: Path, folder: str, code: int) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").mkdir()
    program = (
        "import sys; from pathlib import Path; from ttsi.serve.sandbox import enter_sandbox\n"
        "enter_sandbox(Path(sys.argv[1]))\n"
        "Path(sys.argv[2]).write_text('x')\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "inside"), str(tmp_path / folder / "file")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("must not write" in done.stderr) == bool(code)


def test_a_path_that_leads_out_of_the_folder_is_outside(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path)
    program = (
        "import sys; from pathlib import Path; from ttsi.serve.sandbox import enter_sandbox\n"
        "enter_sandbox(Path(sys.argv[1])); Path(sys.argv[2]).write_text('x')\n"
    )
    for way in ("inside/../file", "inside/link/file"):
        words = [sys.executable, "-c", program, str(tmp_path / "inside"), str(tmp_path / way)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert "must not write" in done.stderr


def test_the_first_frame_carries_the_settings() -> None:
    start = Start(model="scripted:demo", device="auto", dtype="auto", library=LibraryConfig(folder=Path("x")))
    assert Start.model_validate_json(start.model_dump_json()) == start
