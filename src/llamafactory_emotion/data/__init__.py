"""Labelled texts: read them from any usual format, split them, register them with LLaMA-Factory.

records           a file's records one after another, whatever its format
reading           texts and labels out of records, every row checked
splits            validation drawn from train, faulty rows dropped
dataset_folder    LLaMA-Factory's `dataset_info.json` and the files it names
"""
