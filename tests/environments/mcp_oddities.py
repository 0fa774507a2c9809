"""An MCP server that does what servers should not, in plain JSON-RPC. `python mcp_oddities.py WHAT` runs it.

WHAT is pages (its list of tools has two), endless (pages without end), schema (a tool's parameters are no object),
mute (never answers), late (never answers a call), silent (closes its output at a call), refusal (answers a call with an
error), resources (answers a call with contents of every kind), structured and text (with structured content only),
nothing (with no content), many and no tools (as they say), noise (prints what is no JSON), greeting and latin (print a
line before the protocol, the latter not in UTF-8), garbled (prints half a line before its first reply, and ends).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

CONTENTS = [
    {"type": "resource", "resource": {"uri": "file:///a.txt", "text": "of the file"}},
    {"type": "resource", "resource": {"uri": "file:///b.bin", "blob": "aGk="}},
    {"type": "resource_link", "uri": "file:///c.txt", "name": "c"},
    {"type": "audio", "data": "aGk=", "mimeType": "audio/wav"},
]
CALLS: Mapping[str, Mapping[str, Any]] = {
    "refusal": {"error": {"code": -32000, "message": "not\ntoday"}},
    "resources": {"result": {"content": CONTENTS}},
    "structured": {"result": {"content": [], "structuredContent": {"n": 1}}},
    "text": {"result": {"content": [], "structuredContent": {"result": "a"}}},
    "nothing": {"result": {"content": []}},
}


def tool(name: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "inputSchema": schema or {"type": "object", "properties": {}}}


def listing(what: str, cursor: str | None) -> dict[str, Any]:
    if what == "endless":
        return {"tools": [], "nextCursor": "more"}
    if what == "pages" and cursor is None:
        return {"tools": [tool("first")], "nextCursor": "2"}
    if what in ("no tools", "many"):
        return {"tools": [tool(f"t{number}") for number in range(99 if what == "many" else 0)]}
    if what == "pages":
        return {"tools": [tool("second")]}
    return {"tools": [tool("go", {"type": "object", "properties": {"a": {"type": 3}}} if what == "schema" else None)]}


def answer(what: str, request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The reply to a request without its id; None is none."""
    method, parameters = request["method"], request.get("params") or {}
    if method == "initialize":
        version = parameters["protocolVersion"]
        about = {"name": "oddities", "version": "1"}
        return {"result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}}
    if method == "tools/list":
        return {"result": listing(what, parameters.get("cursor"))}
    if method == "tools/call" and what == "silent":
        sys.exit()
    if method == "tools/call":
        return None if what == "late" else CALLS.get(what, {"result": {"content": [{"type": "text", "text": "went"}]}})
    return {"result": {}}


GREETINGS: Mapping[str, bytes] = {"greeting": b"hello\n", "latin": b"caf\xe9\n", "garbled": b"loading "}


def main(what: str) -> None:
    sys.stdout.buffer.write(GREETINGS.get(what, b""))
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        reply = None if what == "mute" or "id" not in request else answer(what, request)
        if what == "noise":
            print("hello", flush=True)
        if reply is not None:
            print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}), flush=True)
        if what == "garbled":
            return


if __name__ == "__main__":
    main(sys.argv[1])
