"""Other tools: inspect_ai, PEFT files, trackers.

inspect_ai evaluates the method like a model (`inspect_provider`), PEFT loads its adapters (`peft_files`), experiment
trackers plot its runs (`trackers`). Nothing else of ttsi needs them; each is imported where it is used.
"""
