"""How are many inputs improved, once each, and nothing lost?

`runner` feeds the loop batch by batch, `store` is the run folder (SQLite, one transaction per episode), `codec` turns
episodes into JSON and back, `summary` counts. An engineering part: the paper (arXiv:2510.07841) describes none.
"""
