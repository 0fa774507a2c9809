"""The folder on this machine for what is kept between runs: downloaded data and converted models.

Inputs: the environment variable TTSI_HOME, or nothing. Outputs: a path.
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """TTSI_HOME, or ~/.cache/ttsi where it is not set. The folder need not exist."""
    return Path(os.environ.get("TTSI_HOME") or Path.home() / ".cache" / "ttsi")
