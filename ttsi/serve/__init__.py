"""How does the method stand behind an OpenAI-compatible address?

A front process speaks HTTP, checks keys and limits and never sees torch (`app`); a worker process owns the model and
answers one request at a time (`worker`). Between them lies a socket that carries JSON (`pipe`).
"""
