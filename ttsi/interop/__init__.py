"""Other tools: inspect_ai, PEFT files, trackers.

inspect_ai asks it like a model (`inspect_provider`), PEFT loads what it learnt (`peft_files`), experiment trackers draw
what a run measured (`trackers`). Nothing of ttsi needs them; each is imported where it is used.
"""
