"""Where tests find downloaded benchmark data, and how they say that there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("TTSI_BENCHMARKS") or Path(__file__).parents[2] / ".." / "shared" / "benchmarks")


def needs(folder: str) -> pytest.MarkDecorator:
    """Skip, with a reason, where a source's data are not there."""
    return pytest.mark.skipif(
        not (DATA / folder).is_dir(), reason=f"no benchmark data: set TTSI_BENCHMARKS to the folder with {folder}"
    )
