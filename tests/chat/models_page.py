"""The page of model families, docs/models.md: the handshake with each family's chat template.

    python -m tests.chat.models_page > docs/models.md

Inputs: tests/chat/templates, templates of ours in the manner of public families, and the handshake. Outputs: Markdown.
A test compares it with the page that is committed.
"""

from __future__ import annotations

from typing import Any

from tests.chat.test_family_templates import FAMILIES, tokenizer
from ttsi.chat.calls import FORMATS
from ttsi.chat.grammar import answer_grammar, localise
from ttsi.chat.handshake import Handshake, refuse_unread
from ttsi.chat.probes import OSLO, TOOL
from ttsi.chat.templates import handshake_with
from ttsi.engine.constraint import Grammars
from ttsi.errors import ModelError

HEAD = """# Models

When `ttsi` loads a model, it renders short conversations through the model's chat template, reads the result, and asks
the model one plain question with one tool. The outcome is the *handshake*. To see that of your model:

```console
$ ttsi env --model hf:OWNER/NAME
```

`--format NAME` overrides the tool-call format; `ttsi ls formats` lists them. Run records hold the handshake.
A model in memory (`ttsi.load_model(model, tokenizer=tokenizer)`) is met in the same way.

If a template cannot carry something, such as the tools, `ttsi` writes it into the text of a message. If no format can
read a model's calls, the model is refused with the reason.

`python -m tests.chat.models_page` makes the table below from our own templates in the style of these families
(`tests/chat/templates`). Public templates may differ from release to release. The handshake reads the template of
your model.

* **format**: the tool-call format that is read, scored, trained on and enforced by the grammar; *by*: the source of
  this choice.
* **tools**: listed by the template, or as text in the system message.
* **own call**: whether the format reads the call that the template writes. A dash means that it writes none.
* **taught alike**: whether a training target equals that call, apart from white space, quotation marks and ids.
* **mask**: whether the grammar admits the training target, token by token.
* **calls, results**: how earlier calls and their results reach the model.

| family | format | by | tools | own call | taught alike | mask | calls | results |
|---|---|---|---|---|---|---|---|---|
"""
TAIL = """
Some models write calls differently from their template. The question at load shows this, and the model's own way is
used if the model finds it likelier: Qwen2.5-Coder's template has Hermes calls, but the model writes JSON in a code
fence, or without one. Both are read, and constrained decoding limits both to legal calls.

In a mixture of experts, the experts get no adapters: these are added to the other linear layers, and `ttsi env --model`
shows the share of weights without one. An architecture that the engine cannot compute exactly is refused at load by
name.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_row(name) for name in sorted(FAMILIES)) + TAIL


def _row(name: str) -> str:
    family = FAMILIES[name]
    models = ", ".join(family["models"][:3])
    try:
        handshake = handshake_with(tokenizer(name))
        refuse_unread(handshake)
    except ModelError as error:
        line = " ".join(str(error).replace("|", "\\|").split())
        return f"| {models} | refused: {line[:150]} | | | | | | | |\n"
    carries = handshake.carries
    cells = [
        models,
        f"`{handshake.format}`",
        handshake.chosen_by,
        carries.tools,
        _yes(_read(family, handshake)),
        _yes(_alike(family, handshake)),
        _yes(_admitted(name, handshake)),
        carries.calls,
        carries.results,
    ]
    return f"| {' | '.join(cells)} |\n"


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "**no**"


def _read(family: dict[str, Any], handshake: Handshake) -> bool | None:
    return (
        FORMATS[handshake.format].parse(family["writes"], [TOOL]).calls == (OSLO,) if _own(family, handshake) else None
    )


def _own(family: dict[str, Any], handshake: Handshake) -> bool:
    return bool(family["writes"]) and handshake.template_format == handshake.format


def _alike(family: dict[str, Any], handshake: Handshake) -> bool | None:
    if not _own(family, handshake):
        return None

    def bare(text: str) -> str:
        text = "".join(text.split()).replace("'", '"').replace(',"id":"call00000"', "").replace('"id":"call00000",', "")
        return text.replace("<|channel|>commentaryto=functions.get_weather<|constrain|>", "")

    written = bare(family["writes"]).replace("to=functions.get_weather<|channel|>commentary", "")
    taught = bare(FORMATS[handshake.format].render([OSLO]))
    return written.removesuffix("<|call|>") == taught.removesuffix("<|call|>")


def _admitted(name: str, handshake: Handshake) -> bool:
    fast, form = tokenizer(name), FORMATS[handshake.format]
    grammars = Grammars(fast, len(fast), [fast.eos_token_id])
    ids = fast(form.render([OSLO]), add_special_tokens=False)["input_ids"]
    matcher = grammars.matcher(localise(answer_grammar(form, [TOOL], "one"), grammars.special_ids))
    return bool(matcher.validate_tokens(ids) == len(ids))


if __name__ == "__main__":
    print(page(), end="")
