"""Say it: how an answer is decoded (`strategy.py`). The same for base and adapted, always."""

from ttsi.answer.strategy import reply

__all__ = ["reply"]
