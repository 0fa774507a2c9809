"""A library of adapters that outlive their input: each had to prove itself, and is tried when its tools come back.

    with AdapterLibrary(folder) as library:
        use = LibraryUse(library, LibraryConfig(folder=folder), retention=requests)
        with library.step("first batch"):
            episodes = improve_with_library(use, inputs, model, None, config)

Inputs: batches of inputs. Outputs: episodes, and a folder that grows. The base is never written. The paper
(arXiv:2510.07841) drops what it learned; this is its outlook on lasting improvement, with the precautions that others
found necessary: separate adapters, a test before one is used, and a gate at each use.
"""

from ttsi.library.adapter_library import AdapterLibrary
from ttsi.library.entry import LibraryEntry, tools_hash
from ttsi.library.improvement import (
    LibraryUse,
    answer_with_library,
    check_library,
    improve_with_library,
    learn,
    prepare,
)
from ttsi.library.notices import empty_notice, folder_notice, tools_notice, unfit_notice
from ttsi.library.retention import RETENTION_ROWS

__all__ = [
    "RETENTION_ROWS",
    "AdapterLibrary",
    "LibraryEntry",
    "LibraryUse",
    "answer_with_library",
    "check_library",
    "empty_notice",
    "folder_notice",
    "improve_with_library",
    "learn",
    "prepare",
    "tools_hash",
    "tools_notice",
    "unfit_notice",
]
