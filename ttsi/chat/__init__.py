"""How do messages and tools become text, and how does text become tool calls?

`ours` and `calls` know how each model family writes a call, `schema` says whether a call is legal, `grammar` lets a
model write only legal ones, `templates` renders prompts with the model's own chat template. Imports neither torch nor
transformers. Not in the paper (arXiv:2510.07841), which leaves these formats to its models.
"""
