"""The small model that ships: weights, tokenizer, card, and everything that made it.

Two million parameters, trained from scratch by `train.py` on a seeded world of tool calls (`world.py`), so that the
whole method runs for real on a machine without network and without a GPU. It is a test bench, not an assistant.

How it differs from the paper: there, Qwen2.5-1.5B-Instruct. Nothing here is needed to use a model of one's own.
"""
