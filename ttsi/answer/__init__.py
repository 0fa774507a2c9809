"""Say it: how an answer is decoded (`strategy.py`). The same for base and adapted, always."""

from ttsi.answer.generation import generate_answers

__all__ = ["generate_answers"]
