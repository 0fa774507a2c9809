"""`python -m ttsi`, the same command as `ttsi`."""

from __future__ import annotations

import sys

from ttsi.cli import main

if __name__ == "__main__":
    sys.exit(main())
