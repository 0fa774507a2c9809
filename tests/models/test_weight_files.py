"""A model file that is not what the manifest lists is refused by name, and a folder with code is not loaded."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ttsi.errors import ModelError
from ttsi.models.weight_files import MANIFEST, TRUST, check, verify, write_manifest

TRIALS = 60


@pytest.fixture
def folder(saved_model: Callable[[str], Path]) -> Path:
    """A tiny model with its manifest."""
    made = saved_model("qwen2")
    write_manifest(made)
    return made


def damaged(path: Path, rng: random.Random, kind: str) -> bytes:
    """The file's bytes with one bit flipped, or cut at some place."""
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    if kind == "cut":
        return bytes(content[:place])
    content[place] ^= 1 << rng.randrange(8)
    return bytes(content)


@pytest.mark.parametrize("kind", ["cut", "flip"])
def test_every_damaged_file_is_refused_by_name(folder: Path, kind: str) -> None:
    rng = random.Random(0)
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    verify(folder)
    for trial in range(TRIALS):
        path = files[trial % len(files)] if trial % 2 else folder / "model.safetensors"
        whole = path.read_bytes()
        path.write_bytes(damaged(path, rng, kind))
        with pytest.raises(ModelError, match=path.name):
            verify(folder)
        path.write_bytes(whole)
    verify(folder)


def test_control_without_a_manifest_a_flipped_bit_loads_in_silence(folder: Path) -> None:
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert load_file(path)
    (folder / MANIFEST).unlink()
    check(folder)
    with pytest.raises(ModelError, match="cannot be read"):
        check(folder, manifest_required=True)


def test_what_is_missing_or_too_much_is_named(folder: Path) -> None:
    (folder / "README.md").write_text("prose is no part of the model")
    verify(folder)
    (folder / "extra.json").write_text("{}")
    with pytest.raises(ModelError, match=r"extra\.json is not in"):
        verify(folder)
    (folder / "extra.json").unlink()
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        verify(folder)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": {"config.json": 1}}', '{"files": []}'])
def test_a_broken_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ModelError, match=MANIFEST):
        verify(folder)


def test_code_needs_the_operators_word_for_that_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / MANIFEST).unlink()
    assert check(folder) is False
    (folder / "modeling.py").write_text("raise SystemExit")
    with pytest.raises(ModelError, match=TRUST):
        check(folder)
    monkeypatch.setenv(TRUST, f"{tmp_path / 'other'}:{folder}/")
    assert check(folder) is True
    # Control: trust in one folder is not trust in its copy.
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(ModelError, match=r"modeling\.py"):
        check(tmp_path / "copy")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_request_for_code_is_refused(folder: Path, name: str) -> None:
    (folder / MANIFEST).unlink()
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(ModelError, match="auto_map"):
        check(folder)


def test_other_weights_than_safetensors_are_refused(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        check(folder)


def test_a_folder_without_a_model_is_said_to_have_none(tmp_path: Path) -> None:
    """And is not searched for code: it may be a checkout with an environment in it."""
    (tmp_path / "setup.py").write_text("")
    with pytest.raises(ModelError, match="holds no model"):
        check(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="code of its own"):  # the control: this one claims to be one
        check(tmp_path)


def test_the_model_that_ships_is_what_its_manifest_lists() -> None:
    """After new weights: python -m ttsi.models.weight_files ttsi/embedded/weights."""
    verify(Path(__file__).parents[2] / "ttsi" / "embedded" / "weights")
