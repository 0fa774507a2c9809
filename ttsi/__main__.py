"""`python -m ttsi`, the same command as `ttsi`."""

from __future__ import annotations

from ttsi.cli import start

if __name__ == "__main__":
    start()
