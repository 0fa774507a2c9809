"""Gold that breaks a tool's schema.

Inputs: a benchmark. Outputs: one line of warning, or nothing. Constrained decoding writes legal calls only, so an input
whose gold has an unknown argument or a value that the schema forbids counts as wrong whatever the model knows. It is
meant for a file of the user's own, where this is most likely a slip; public benchmarks have such rows too, and count
them (`ttsi data check`).
"""

from __future__ import annotations

from ttsi.benchmarks import Benchmark, Sample
from ttsi.chat.tool_schema import problem
from ttsi.plurals import with_noun


def illegal_gold_notice(benchmark: Benchmark) -> str:
    """A warning where gold breaks the schema of a tool on offer; empty where all is legal.

    Rows with a rule of their own (`official`) are left out: it may accept other values than gold's.
    """
    illegal = [(sample.input.id, reason) for sample in benchmark.samples if (reason := _first_problem(sample))]
    if not illegal:
        return ""
    first, reason = illegal[0]
    inputs = with_noun(len(benchmark.samples), "input")
    return (
        f"{benchmark.name}: gold breaks a tool's schema in {len(illegal)} of {inputs}. "
        "Constrained decoding writes legal calls only, so what breaks it counts as wrong (the first: input "
        f"{first!r}, {reason})"
    )


def _first_problem(sample: Sample) -> str | None:
    """The first error in the gold calls of tools on offer."""
    if sample.official is not None:
        return None
    offered = {tool.name: tool for tool in sample.input.tools}
    calls = [call for call in sample.gold or () if call.name in offered]
    errors = ((call.name, problem(call, [offered[call.name]])) for call in calls)
    return next((f"{name}: {error.removeprefix('schema: ')}" for name, error in errors if error), None)
