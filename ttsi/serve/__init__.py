"""The method behind an OpenAI-compatible API.

A front process speaks HTTP, checks keys and limits, and never imports torch (`app`). A worker process owns the model
and answers one request at a time (`worker`). Between them is a socket that carries JSON (`pipe`).
"""
