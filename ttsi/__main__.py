"""How is the command started? `python -m ttsi` is the same as `ttsi`."""

from __future__ import annotations

import sys

from ttsi.cli import main

if __name__ == "__main__":
    sys.exit(main())
