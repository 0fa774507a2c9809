"""A small MCP server, made with the mcp package: a store with things in it. `python mcp_store.py` runs it."""

from __future__ import annotations

import os
import sys
from typing import Any

THINGS = ["a"]


def server() -> Any:
    """The server with its tools. The package is imported here, because it is optional."""
    from mcp.types import ImageContent, TextContent, ToolAnnotations

    try:
        from mcp.server import MCPServer as Server  # type: ignore[attr-defined, unused-ignore]
    except ImportError:  # mcp before 2
        from mcp.server.fastmcp import FastMCP as Server  # type: ignore[assignment, unused-ignore]
    # The hint's name differs between versions of the package, its alias does not.
    read_only = ToolAnnotations.model_validate({"readOnlyHint": True})
    store: Any = Server("store")

    @store.tool()
    def put(thing: str, times: int = 1) -> str:
        """Put a thing in."""
        THINGS.extend([thing] * times)
        return f"put {thing}"

    @store.tool(annotations=read_only)
    def look() -> str:
        """What is in it."""
        return " ".join(THINGS)

    @store.tool()
    def break_down() -> str:
        """Raise an error."""
        raise ValueError("it is broken")

    @store.tool()
    def die() -> str:
        """End the process."""
        print("out of memory", file=sys.stderr, flush=True)
        os._exit(3)

    @store.tool()
    def variable(name: str) -> str:
        """An environment variable of the process; its own id for "pid"."""
        return str(os.getpid()) if name == "pid" else os.environ.get(name, "(unset)")

    @store.tool()
    def picture() -> list[Any]:
        """A text and a picture."""
        image = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
        return [TextContent(type="text", text="two dots"), ImageContent.model_validate(image)]

    @store.tool()
    def times(thing: str, number: int) -> list[str]:
        """A list with so many things."""
        return [thing] * number

    return store


if __name__ == "__main__":
    server().run()
