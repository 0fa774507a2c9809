"""What happened? Numbers with error bars (`stats`) and tables (`tables`) from a run's summary.

Reads run folders and imports no model code, so that results can be studied on a machine without torch.
"""
