"""A GGUF file that is not what it says is refused in one line before any other reader opens it."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import gguf_writer
from ttsi.errors import ModelError
from ttsi.models.gguf_file import TYPES, read_header

METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.context_length": 64,
    "llama.block_count": 1,
    "llama.embedding_length": 8,
    "llama.feed_forward_length": 16,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.ggml.token_type": [1, 1, 3],
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.chat_template": "{{ messages }}",
}
TENSORS = {
    "token_embd.weight": np.arange(24, dtype=np.float32).reshape(3, 8),
    "blk.0.attn_q.weight": np.zeros((8, 8), np.float32),
    "blk.0.attn_k.weight": np.zeros((4, 8), np.float32),
    "blk.0.ffn_up.weight": np.zeros((16, 8), np.float32),
}
WHOLE = gguf_writer.contents(METADATA, TENSORS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test writes its file."""
    return tmp_path / "tiny.gguf"


def refused(path: Path, content: bytes) -> str:
    """The line with which a file is refused."""
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_header(path)
    line = str(caught.value)
    assert "\n" not in line and line.startswith(str(path)) and len(line) < len(str(path)) + 200
    return line


def test_a_whole_file_says_what_it_holds(path: Path) -> None:
    path.write_bytes(WHOLE)
    header = read_header(path)
    assert header.architecture == "llama" and header.metadata["tokenizer.chat_template"] == "{{ messages }}"
    assert header.lengths == {"tokenizer.ggml.tokens": 3, "tokenizer.ggml.token_type": 3}
    assert header.quantization == "F32 (4)"
    entry = header.tensors["token_embd.weight"]
    assert entry.dimensions == (8, 3)
    assert np.frombuffer(WHOLE[entry.start : entry.start + entry.size], "<f4").tolist() == list(range(24))


def test_every_cut_is_refused(path: Path) -> None:
    rng = random.Random(0)
    for place in rng.sample(range(len(WHOLE)), 100):
        refused(path, WHOLE[:place])


def test_every_flip_before_the_tensors_is_refused_or_changes_no_size(path: Path) -> None:
    path.write_bytes(WHOLE)
    sizes = {name: (entry.start, entry.size) for name, entry in read_header(path).tensors.items()}
    begin = min(start for start, _ in sizes.values())
    refusals = 0
    for place in range(begin):
        content = bytearray(WHOLE)
        content[place] ^= 1 << random.Random(place).randrange(8)
        path.write_bytes(bytes(content))
        try:
            header = read_header(path)
        except ModelError as error:
            assert "\n" not in str(error)
            refusals += 1
            continue
        assert {(entry.start, entry.size) for entry in header.tensors.values()} == set(sizes.values())
    assert begin == 800 and refusals > begin // 2


def stated(**changed: Any) -> bytes:
    """The file with other metadata; _ stands for the dot between the words."""
    names = {key.replace(".", "_"): key for key in METADATA} | {
        "alignment": "general.alignment",
        "type": "general.type",
        "parts": "split.count",
        "scores": "tokenizer.ggml.scores",
    }
    metadata = METADATA | {names[key]: content for key, content in changed.items()}
    return gguf_writer.contents({key: content for key, content in metadata.items() if content is not None}, TENSORS)


def patched(old: bytes, new: bytes) -> bytes:
    """The file with some bytes replaced where they first occur."""
    assert old in WHOLE and len(old) == len(new)
    return WHOLE.replace(old, new, 1)


TABLE = gguf_writer.text("blk.0.attn_q.weight")
HUGE = struct.pack("<Q", 2**60)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not begin with the letters GGUF"),
        (b"PK\3\4" + WHOLE[4:], "does not begin with the letters GGUF"),
        (b"GGUF" + struct.pack("<I", 1) + WHOLE[8:], "version 1 is not 2 or 3"),
        (b"GGUF" + struct.pack(">I", 3) + WHOLE[8:], "it is big-endian"),
        (WHOLE[:8] + HUGE + WHOLE[16:], f"ends before {2**60} tensors"),
        (WHOLE[:16] + HUGE + WHOLE[24:], f"ends before {2**60} metadata keys"),
        (WHOLE[:24] + HUGE + WHOLE[32:], f"ends before {2**60} bytes of the name of a metadata key"),
        (patched(struct.pack("<IIQ", 9, 8, 3), struct.pack("<IIQ", 9, 8, 2**60)), f"ends before {2**60} texts"),
        (patched(struct.pack("<IIQ", 9, 5, 3), struct.pack("<IIQ", 9, 5, 2**60)), f"ends before {2**60} elements"),
        (patched(struct.pack("<IIQ", 9, 5, 3), struct.pack("<IIQ", 9, 9, 3)), "a list of type 9"),
        (patched(TABLE + struct.pack("<I", 2), TABLE + struct.pack("<I", 5)), "has 5 dimensions"),
        (patched(TABLE + struct.pack("<IQQ", 2, 8, 8), TABLE + struct.pack("<IQQ", 2, 8, 2**62)), "has the dimensions"),
        (patched(TABLE + struct.pack("<IQQ", 2, 8, 8), TABLE + struct.pack("<IQQ", 2, 8, 0)), "has the dimensions"),
        (patched(TABLE + struct.pack("<IQQ", 2, 8, 8), TABLE + struct.pack("<IQQ", 2, 8, 16)), "begins at"),
        (patched(TABLE + struct.pack("<IQQI", 2, 8, 8, 0), TABLE + struct.pack("<IQQI", 2, 8, 8, 4)), "has type 4"),
        (patched(TABLE + struct.pack("<IQQI", 2, 8, 8, 0), TABLE + struct.pack("<IQQI", 2, 8, 8, 8)), "no multiple"),
        (patched(TABLE, gguf_writer.text("blk.0.attn_k.weight")), "occurs twice"),
        (patched(b"blk.0.attn_q", b"blk 0.attn_q"), "a tensor is called 'blk 0"),
        (patched(b"llama.embedding_length", b"llama.attention.xxxxxx"), "llama.embedding_length is None"),
        (WHOLE + bytes(64), "64 bytes follow the last tensor"),
        (stated(alignment=48), "general.alignment is 48"),
        (stated(alignment="32"), "general.alignment is no 32-bit number"),
        (stated(general_architecture="gptj"), "architecture 'gptj'; of GGUF files ttsi reads gemma3, llama"),
        (stated(general_architecture="x" * 900), "architecture 'xxx"),
        (stated(general_architecture=None), "architecture 'None'"),
        (stated(type="adapter"), "holds no model but something of type 'adapter'"),
        (stated(parts=3), "one part of 3"),
        (stated(tokenizer_chat_template=None), "has no chat template: choose an instruction-tuned model"),
        (stated(tokenizer_chat_template=" "), "has no chat template"),
        (stated(tokenizer_ggml_tokens=None), "it has no tokens"),
        (stated(tokenizer_ggml_token_type=[1]), "it has 3 tokens, but 1 entries of token_type"),
        (stated(scores=[1.0]), "it has 3 tokens, but 1 entries of scores"),
        (stated(tokenizer_ggml_eos_token_id=3), "eos_token_id is 3, but there are 3 tokens"),
        (stated(llama_block_count=2**30), "states 1073741824 layers and has tensors of 1"),
        (stated(llama_embedding_length=2**30), "token_embd.weight has the dimensions (8, 3), but the metadata states"),
        (stated(llama_feed_forward_length=2**30), "blk.0.ffn_up.weight has the dimensions"),
        (stated(llama_attention_head_count=2**30), "llama.attention.key_length is 0"),
        (stated(llama_attention_head_count_kv=0), "llama.attention.head_count_kv is 0"),
        (stated(llama_context_length=0), "llama.context_length is 0"),
        (stated(llama_context_length=8.0), "llama.context_length is 8.0"),
    ],
)
def test_what_is_wrong_is_named(path: Path, content: bytes, reason: str) -> None:
    assert reason in refused(path, content)


def test_no_memory_is_taken_by_a_number_in_the_file(path: Path) -> None:
    tracemalloc.start()
    try:
        for place in (8, 16, 24):
            refused(path, WHOLE[:place] + struct.pack("<Q", 2**33) + WHOLE[place + 8 :])
        for size in ("block_count", "embedding_length", "attention_head_count", "context_length"):
            try:
                refused(path, stated(**{f"llama_{size}": 2**22}))
            except pytest.fail.Exception:
                assert size == "context_length"  # a reader takes no memory by it
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["big-00001-of-00003.gguf", "BIG-00002-OF-00003.GGUF"])
def test_a_part_of_a_split_model_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="one part of a split model: join the parts"):
        read_header(tmp_path / name)


def test_the_check_needs_no_torch_and_no_gguf(path: Path) -> None:
    path.write_bytes(WHOLE)
    code = (
        "import sys; from pathlib import Path; from ttsi.models.gguf_file import read_header; "
        f"read_header(Path({str(path)!r})); print({{'torch', 'gguf', 'numpy', 'transformers'}} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "set()\n"


def test_the_sizes_of_types_are_those_of_the_package() -> None:
    constants = pytest.importorskip("gguf.constants")
    official = {int(kind): (kind.name, *size) for kind, size in constants.GGML_QUANT_SIZES.items()}
    assert {number: official[number] for number in TYPES} == TYPES


def test_the_package_reads_the_same(path: Path) -> None:
    package = pytest.importorskip("gguf")
    path.write_bytes(WHOLE)
    theirs = {tensor.name: (tensor.data_offset, tensor.n_bytes) for tensor in package.GGUFReader(path).tensors}
    assert {name: (entry.start, entry.size) for name, entry in read_header(path).tensors.items()} == theirs


def test_control_the_package_trusts_what_the_check_refuses(path: Path) -> None:
    package = pytest.importorskip("gguf")
    content = patched(TABLE + struct.pack("<IQQIQ", 2, 8, 8, 0, 96), TABLE + struct.pack("<IQQIQ", 2, 8, 8, 0, 32))
    assert "begins at 32 instead of 96" in refused(path, content)
    package.GGUFReader(path)  # two tensors in the same place
    assert "layers" in refused(path, stated(llama_block_count=2**30))
    package.GGUFReader(path)
    refused(path, WHOLE[: len(WHOLE) // 4])
    with pytest.raises((ValueError, IndexError)):  # not in words
        package.GGUFReader(path)
