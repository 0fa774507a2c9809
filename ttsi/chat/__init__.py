"""Messages and tools as text, and text as tool calls.

`calls` reads and writes the calls of each model family, `tool_schema` checks them, `grammar` limits a model to legal
ones, `templates` renders prompts with the model's own chat template. Imports neither torch nor transformers.
"""
