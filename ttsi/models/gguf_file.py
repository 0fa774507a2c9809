"""The table of contents of a GGUF file, checked against the file before any other reader sees it.

Inputs: a path. Outputs: a `GGUFHeader` (metadata, tensors, where each one lies), or a `ModelError` in one line. Nothing
is allocated by a number that the file states: every count, length and offset is first compared with the bytes there
are, and the sizes in the metadata with the tensors. Readers that trust the file crash, read beyond its end or build a
model of a billion layers. Plain Python; needs neither torch nor the package `gguf`.

Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttsi.errors import ModelError

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
"""Metadata type -> how it is packed; 8 is a string, 9 an array."""
STRING, ARRAY, BOOL, UINT32 = 8, 9, 7, 4
TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}
"""Tensor type -> its name, numbers per block, bytes per block; those that the package `gguf` can turn into numbers."""
ARCHITECTURES = ("gemma3", "llama", "qwen2", "qwen3")
"""Architectures whose models tests compare with those read back from a GGUF file."""
NAME = re.compile(r"[\w./:-]{1,128}", re.ASCII)
"""Names of metadata keys and tensors; those of real files have fewer than 64 letters."""
MOST_DIMENSIONS = 4
SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the file."""

    name: str
    type: str
    dimensions: tuple[int, ...]
    """Fastest first: the columns of a matrix before its rows."""
    start: int
    """Its first byte, counted from the beginning of the file."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class GGUFHeader:
    """The table of contents of a GGUF file."""

    metadata: dict[str, Any]
    """Numbers, texts and truth values."""
    lengths: dict[str, int]
    """Lists of the metadata -> how many elements; their content is not kept."""
    tensors: dict[str, TensorEntry]

    @property
    def architecture(self) -> str:
        """The family, by llama.cpp's name."""
        return str(self.metadata["general.architecture"])

    @property
    def quantization(self) -> str:
        """How the numbers are stored: every tensor type with its number of tensors, most bytes first."""
        size: Counter[str] = Counter()
        for entry in self.tensors.values():
            size[entry.type] += entry.size
        number = Counter(entry.type for entry in self.tensors.values())
        return ", ".join(f"{name} ({number[name]})" for name, _ in size.most_common())


class _Broken(Exception):
    """A fault of the file, in words that continue "the file is damaged: "."""


def read_header(path: Path) -> GGUFHeader:
    """Read and check everything before the tensors.

    Raises:
        ModelError: there is no such file, it is damaged, or it is no model that can be read; one line.
    """
    if SPLIT.search(path.name):
        raise ModelError(f"{path} is one part of a split model: join the parts (llama-gguf-split --merge) first")
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelError(f"{path} is no GGUF file: it does not begin with the letters GGUF")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                header = _Walk(content).header()
    except FileNotFoundError:
        raise ModelError(f"there is no file {path}") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except _Broken as broken:
        raise ModelError(f"{path} is damaged or not a whole GGUF file: {broken}; download it again") from None
    _check_kind(path, header)
    try:
        _check_tokens(header)
        _check_sizes(header)
    except _Broken as broken:
        raise ModelError(f"{path} contradicts itself: {broken}; download it again") from None
    return header


class _Walk:
    """One pass from the first byte to the last entry of the tensor table."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.size, self.place = content, len(content), 4

    def header(self) -> GGUFHeader:
        """Everything before the tensors."""
        version = self.number("<I")
        if version not in (2, 3):
            raise _Broken("it is big-endian" if version >> 16 else f"version {version} is not 2 or 3")
        tensor_count, key_count = self.number("<Q"), self.number("<Q")
        self.require(key_count, 13, "metadata keys")  # length, type and one byte of value
        metadata: dict[str, Any] = {}
        lengths: dict[str, int] = {}
        for _ in range(key_count):
            key = self.name("a metadata key")
            if key in metadata or key in lengths:
                raise _Broken(f"the metadata key {key} occurs twice")
            kind = self.number("<I")
            if kind == ARRAY:
                lengths[key] = self.skip_list(key)
            else:
                metadata[key] = self.value(kind, key)
                if key == "general.alignment" and kind != UINT32:
                    raise _Broken("general.alignment is no 32-bit number")
        alignment = metadata.get("general.alignment", 32)
        if not 8 <= alignment <= 65536 or alignment & (alignment - 1):
            raise _Broken(f"general.alignment is {alignment}")
        self.require(tensor_count, 32, "tensors")  # length, dimensions, one size, type and offset
        table = [self.tensor() for _ in range(tensor_count)]
        return GGUFHeader(metadata, lengths, dict(self.place_tensors(table, alignment)))

    def place_tensors(
        self, table: list[tuple[str, int, tuple[int, ...], int]], alignment: int
    ) -> Iterator[tuple[str, TensorEntry]]:
        """Tensors lie one behind the other, each on the next aligned byte, in the table's order."""
        begin = _align(self.place, alignment)
        expected, names = 0, set()
        for name, kind, dimensions, offset in table:
            if name in names:
                raise _Broken(f"the tensor {name!r} occurs twice")
            names.add(name)
            if kind not in TYPES:
                raise _Broken(f"the tensor {name!r} has type {kind}, which cannot be read")
            type_name, block, width = TYPES[kind]
            if dimensions[0] % block:
                raise _Broken(f"the rows of {name!r} are no multiple of {block} numbers")
            size = math.prod(dimensions) // block * width
            if offset != expected:
                raise _Broken(f"the tensor {name!r} begins at {offset} instead of {expected}")
            if begin + offset + size > self.size:
                raise _Broken(f"the tensor {name!r} ends behind the end of the file")
            yield name, TensorEntry(name, type_name, dimensions, begin + offset, size)
            expected = _align(offset + size, alignment)
        if begin + expected < self.size:
            raise _Broken(f"{self.size - begin - expected} bytes follow the last tensor")

    def number(self, layout: str) -> Any:
        """The next number."""
        self.require(1, struct.calcsize(layout), "bytes")
        (value,) = struct.unpack_from(layout, self.content, self.place)
        self.place += struct.calcsize(layout)
        return value

    def require(self, count: int, width: int, what: str) -> None:
        """Refuse a count of things that the rest of the file has no room for, at so many bytes each."""
        if count * width > self.size - self.place:
            raise _Broken(f"it ends before {count} {what} that should follow byte {self.place}")

    def name(self, what: str) -> str:
        """The next text, which is to be a name."""
        name = self.text(f"the name of {what}")
        if not NAME.fullmatch(name):
            raise _Broken(f"{what} is called {name[:40]!r}")
        return name

    def text(self, what: str) -> str:
        """The next text, behind its length."""
        length = self.number("<Q")
        self.require(length, 1, f"bytes of {what}")
        self.place += length
        try:
            return self.content[self.place - length : self.place].decode("utf-8")
        except UnicodeDecodeError:
            raise _Broken(f"{what} is not UTF-8") from None

    def value(self, kind: int, key: str) -> Any:
        """The next value of the metadata."""
        if kind == STRING:
            return self.text(key)
        if kind not in SCALARS:
            raise _Broken(f"{key} has type {kind}, which does not exist")
        if kind == BOOL and self.content[self.place : self.place + 1] not in (b"\0", b"\1"):
            raise _Broken(f"{key} is neither true nor false")
        return self.number(SCALARS[kind])

    def skip_list(self, key: str) -> int:
        """How many elements a list has."""
        kind, count = self.number("<I"), self.number("<Q")
        if kind in SCALARS:
            width = struct.calcsize(SCALARS[kind])
            self.require(count, width, f"elements of {key}")
            self.place += count * width
            return int(count)
        if kind != STRING:
            raise _Broken(f"{key} is a list of type {kind}, which cannot be read")
        self.require(count, 8, f"texts of {key}")
        content, size, place, length_of = self.content, self.size, self.place, struct.Struct("<Q").unpack_from
        for _ in range(count):  # half a million turns: no calls but one
            if place + 8 > size:
                raise _Broken(f"it ends within {key}")
            place += 8 + length_of(content, place)[0]
        if place > size:
            raise _Broken(f"it ends within {key}")
        self.place = place
        return int(count)

    def tensor(self) -> tuple[str, int, tuple[int, ...], int]:
        """The next entry of the table: name, type, dimensions, offset."""
        name = self.name("a tensor")
        count = self.number("<I")
        if not 1 <= count <= MOST_DIMENSIONS:
            raise _Broken(f"the tensor {name!r} has {count} dimensions")
        dimensions = tuple(self.number("<Q") for _ in range(count))
        if 0 in dimensions or math.prod(dimensions) >= 2**63:
            raise _Broken(f"the tensor {name!r} has the dimensions {dimensions}")
        return name, self.number("<I"), dimensions, self.number("<Q")


def _align(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment


def _check_kind(path: Path, header: GGUFHeader) -> None:
    """Refuse what is not a complete language model of a known family with a chat template."""
    metadata = header.metadata
    kind, parts = metadata.get("general.type", "model"), metadata.get("split.count", 1)
    if kind != "model":
        raise ModelError(
            f"{path} holds no model but something of type {str(kind)[:40]!r}: name the model's own GGUF file"
        )
    if parts not in (0, 1):
        raise ModelError(f"{path} is one part of {parts}: join the parts (llama-gguf-split --merge) first")
    family = metadata.get("general.architecture")
    if family not in ARCHITECTURES:
        raise ModelError(
            f"{path} is of architecture {str(family)[:40]!r}; of GGUF files ttsi reads {', '.join(ARCHITECTURES)}: "
            "use the model's safetensors folder"
        )
    template = metadata.get("tokenizer.chat_template")
    if not isinstance(template, str) or not template.strip():
        raise ModelError(
            f"{path} has no chat template: choose an instruction-tuned model, or a GGUF file that was made with one"
        )


def _check_tokens(header: GGUFHeader) -> None:
    """Refuse a tokenizer whose lists have different lengths."""
    count = header.lengths.get("tokenizer.ggml.tokens", 0)
    if not count:
        raise _Broken("it has no tokens")
    for name in ("token_type", "scores"):
        length = header.lengths.get(f"tokenizer.ggml.{name}", count)
        if length != count:
            raise _Broken(f"it has {count} tokens, but {length} entries of {name}")
    for key, value in header.metadata.items():
        if re.fullmatch(r"tokenizer\.ggml\.\w+_token_id", key) and not (type(value) is int and 0 <= value < count):
            raise _Broken(f"{key} is {str(value)[:40]}, but there are {count} tokens")


def _check_sizes(header: GGUFHeader) -> None:
    """Refuse sizes in the metadata that differ from the tensors': a reader allocates by the former."""

    def positive_int(key: str, default: int | None = None) -> int:
        value = header.metadata.get(f"{header.architecture}.{key}", default)
        if type(value) is not int or not 0 < value < 2**31:
            raise _Broken(f"{header.architecture}.{key} is {str(value)[:40]}")
        return value

    def shape(name: str) -> tuple[int, ...]:
        if name not in header.tensors:
            raise _Broken(f"there is no tensor {name!r}")
        return header.tensors[name].dimensions

    blocks = {int(match[1]) for name in header.tensors if (match := re.match(r"blk\.(\d{1,6})\.", name))}
    if not len(blocks) == max(blocks, default=-1) + 1 == positive_int("block_count"):
        raise _Broken(f"it states {positive_int('block_count')} layers and has tensors of {len(blocks)}")
    width, heads, tokens = (
        positive_int("embedding_length"),
        positive_int("attention.head_count"),
        shape("token_embd.weight")[-1],
    )
    groups = positive_int("attention.head_count_kv", heads)
    head_width = positive_int("attention.key_length", width // heads)
    vocabulary = positive_int("vocab_size", tokens), header.lengths["tokenizer.ggml.tokens"]
    positive_int("context_length")
    if vocabulary != (tokens, tokens):
        raise _Broken(f"it states {vocabulary[0]} tokens, lists {vocabulary[1]} and has embeddings of {tokens}")
    expected = {
        "token_embd.weight": (width, tokens),
        "blk.0.attn_q.weight": (width, heads * head_width),
        "blk.0.attn_k.weight": (width, groups * head_width),
        "blk.0.ffn_up.weight": (width, positive_int("feed_forward_length")),
    }
    for name, dimensions in expected.items():
        if shape(name) != dimensions:
            raise _Broken(f"{name} has the dimensions {shape(name)}, but the metadata states {dimensions}")
    if heads % groups:
        raise _Broken(f"{heads} heads do not share {groups} groups of keys")
