"""Speed comparisons of ttsi with the usual ways, and with the machine's limit.

Inputs: models of known shapes with random weights (or the embedded model), the same work for both sides. Outputs: a
line per comparison on stdout and an entry in results.json. Every comparison runs both sides in turn in one process,
and stops when their results differ by more than the tolerance it names. `make bench` runs them all; one of them:

    python -m speed score [--quick] [--shape qwen2.5-0.5b] [--repeats 7]

    measure.py      time, ratio, interval, the machine's limits, results.json
    shapes.py       the models, and the least work that a task needs
    peers.py        the usual ways: PEFT loops, Trainer, generate, one candidate after another
    score.py        log-likelihood of candidates, beside lm-eval and minicons
    adapters.py     one adapter per input, beside Trainer (new for each), TRL and a bare PEFT loop
    answer.py       answers with one adapter each, beside one by one and PEFT's mixed batches
    synthesis.py    samples of the base, beside `generate` per input and `generate_batch`
    end_to_end.py   the whole loop, beside the same loop built from the usual parts
    real.py         the whole loop on a real model, beside PEFT, and the price of an unsure input
    llama_cpp.py    plain decoding, beside llama.cpp's server on the same file
    growth.py       how cost grows with inputs, candidates, prompt, K, rank and batch

The paper (arXiv:2510.07841) reports 8.1 times the time of a plain answer for its method.
"""
