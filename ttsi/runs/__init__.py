"""Runs: many inputs through the loop, once each, with a record that survives interruptions.

`plan` orders the inputs, `runner` feeds them to an executor batch by batch, `store` is the run folder (SQLite, one
transaction per episode), `summary` counts, `evaluation` is all of it in one call.
"""
