"""A model's tool calls by transformers' `generate` and `json.loads` alone: the peer of `ttsi run --method base`.

    python dev/plain_baseline.py ROWS.jsonl MODEL_FOLDER OUT.jsonl [float32|bfloat16]

Inputs: rows with messages, tools (OpenAI's form) and gold. Outputs: one line a row: id, text, calls, right. Shares no
code with ttsi: prompts are the template's, answers greedy and free, a call is a JSON object in a code fence, in
<tool_call> or standing alone; right means the same names and values, compared as text.
"""

import json
import re
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BLOCK = re.compile(r"```(?:json)?\s*(.*?)```|<tool_call>(.*?)</tool_call>|(\{.*\})", re.DOTALL)


def calls(text):
    """The calls in a text, as (name, arguments); None where it is no JSON."""
    values = []
    for match in BLOCK.finditer(text):
        body = next(group for group in match.groups() if group is not None).strip()
        try:
            value = json.loads(body if body.startswith("[") else "[" + re.sub(r"\}\s*\n\s*\{", "},{", body) + "]")
        except ValueError:
            return None
        values += [(call.get("name"), call.get("arguments")) for call in value if isinstance(call, dict)]
    return values


def right(made, gold):
    """Whether two lists of calls are the same, values compared as text."""

    def canonical_calls(call):
        return call[0], sorted((key, str(value).strip()) for key, value in (call[1] or {}).items())

    return made is not None and sorted(map(canonical_calls, made)) == sorted(
        canonical_calls((g["name"], g["arguments"])) for g in gold
    )


rows, folder, out, dtype = (*sys.argv[1:4], sys.argv[4] if len(sys.argv) > 4 else "float32")
device = "cuda" if torch.cuda.is_available() else "cpu"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device).eval()
with open(rows) as lines, open(out, "w") as results:
    for line in lines:
        row = json.loads(line)
        ids = tokenizer.apply_chat_template(
            row["messages"], tools=row["tools"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(device)
        settings = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "repetition_penalty": 1.0}
        made = model.generate(**ids, max_new_tokens=160, **settings)
        text = tokenizer.decode(made[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        found = calls(text)
        results.write(
            json.dumps({"id": row["id"], "text": text, "calls": found, "right": right(found, row["gold"])}) + "\n"
        )
        results.flush()
