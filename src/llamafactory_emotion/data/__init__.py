"""Labelled texts: read them from any usual format, audit and split them, register them.

records           a file's records one after another, whatever its format
reading           texts and labels out of records, every row checked
audit             repeats, conflicts, leaks, imbalance
splits            validation drawn from train, faulty rows dropped
dataset_folder    LLaMA-Factory's `dataset_info.json` and the files it names
entries           the data sets that it names, on disk or on the hub
"""
