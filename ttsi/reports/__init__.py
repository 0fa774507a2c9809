"""Reports: what runs show, as tables, figures and sentences, with error bars.

Inputs: runs (`ttsi.record.Run`). Outputs: one HTML page (`html`) or Markdown tables (`markdown`) of the answers to
`questions`; a run's summary (`tables`) and one episode (`story`) as text for a terminal. Imports no model code, so that
results can be studied without torch.
"""
