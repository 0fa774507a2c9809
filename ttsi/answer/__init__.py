"""Decoding of answers, the same for base and adapted."""

from ttsi.answer.generation import generate_answers

__all__ = ["generate_answers"]
