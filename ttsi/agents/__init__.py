"""Agents: test-time self-improvement at each decision of a conversation with an environment.

Inputs: an environment, a model, the settings. Outputs: a `Trajectory`. The loop of the single answer (`ttsi.improve`)
is used unchanged at each decision; the paper (arXiv:2510.07841) improves single answers.
"""
