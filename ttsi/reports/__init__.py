"""What happened? Numbers with error bars (`stats`) and tables (`tables`) from a run's summary.

`page` makes one HTML page of runs: `record` says what it reads, `sections` and `pictures` what it shows, `stories`
packs the inputs, `pairing` sets runs side by side. Imports no model code, so that results can be studied without torch.
"""
