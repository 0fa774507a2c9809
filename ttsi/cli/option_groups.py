"""Groups of options on the help page, and the group of each setting.

`ttsi.config` knows no command line, so the groups of its fields stand here; importing this module adds them.
"""

from __future__ import annotations

from typing import Annotated, get_type_hints

from cyclopts import Group, Parameter

from ttsi.config import LibraryConfig, LoopConfig, MethodConfig, RunConfig

BASIC = Group("Basic", sort_key=0)
AWARENESS = Group("Awareness", help="Stage 1: how confident is the model?", sort_key=1)
SYNTHESIS = Group("Synthesis", help="Stage 2: write similar examples.", sort_key=2)
ADAPTATION = Group("Adaptation", help="Stage 3: train a temporary adapter on them.", sort_key=3)
ANSWER = Group("Answer", help="How the model answers, before and after adaptation.", sort_key=4)
TEACHER = Group("Teacher", help="Another model that writes the examples (methods ttd and ttd-icl).", sort_key=5)
TRAINING = Group("Training data", help="What the methods icl and sft learn from.", sort_key=6)
LIBRARY = Group("Library", help="Adapters that are kept, and tried when the same tools come back.", sort_key=7)
AGENT = Group("Agent", help="Tasks of several turns and steps, with tools that are executed.", sort_key=7)
FOLDER = Group("Run folder", sort_key=7)
ACCESS = Group("Access", help="Who may use the server.", sort_key=8)
LIMITS = Group("Limits", help="Limits per request, per key and for the whole server.", sort_key=9)
MACHINE = Group("Machine", help="Where the work is done.", sort_key=10)
OUTPUT = Group("Output", sort_key=11)


def _annotate(config: type, **parameters: Parameter) -> None:
    """Add cyclopts' parameters to fields, as if their types named them: `ttsi.config` knows no command line."""
    hints = get_type_hints(config, include_extras=True)
    config.__annotations__.update({name: Annotated[hints[name], extra] for name, extra in parameters.items()})


_annotate(
    LoopConfig,
    awareness=Parameter(group=AWARENESS),
    synthesis=Parameter(group=SYNTHESIS),
    adaptation=Parameter(group=ADAPTATION),
    answer=Parameter(group=ANSWER),
    adapt=Parameter(parse=False),
)
# The folder has the short name: --library DIR turns the library on.
_annotate(
    LibraryConfig,
    folder=Parameter(name="--library"),
    admission=Parameter(name="--library.admission"),
    gate=Parameter(name="--library.gate"),
    start=Parameter(name="--library.start"),
    max_divergence=Parameter(name="--library.max-divergence"),
    retention=Parameter(name="--library.retention"),
    near=Parameter(name="--library.near"),
    max_bytes=Parameter(name="--library.max-bytes"),
    max_days=Parameter(name="--library.max-days"),
)
_annotate(
    MethodConfig,
    loop=Parameter(name="*"),
    teacher=Parameter(group=TEACHER),
    teacher_budget=Parameter(group=TEACHER),
    train_data=Parameter(group=TRAINING),
    train_limit=Parameter(group=TRAINING),
    library=Parameter(name="*", group=LIBRARY),
)
_annotate(RunConfig, format=Parameter(group=ANSWER), batch_size=Parameter(group=MACHINE), agent=Parameter(group=AGENT))
