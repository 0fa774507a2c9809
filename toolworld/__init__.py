"""The workshop of the embedded model: a seeded world of tool calls, the benchmark frozen from it, and the training.

    python -m toolworld.domains                                # check the domain files
    python -m toolworld.freeze                                 # write the frozen inputs again: the same bytes
    python -m toolworld.train --work-dir build/embedded        # train the model, resuming by itself

Inputs: `domains/` and `thesaurus/`, written by hand for this project. Outputs: the files of `ttsi/embedded`. The
package never imports this folder, and it is not installed.
"""
