"""Labelled texts: read them from any usual format, split them, register them with LLaMA-Factory.

parquet           the rows of Parquet files, label ids by their names
records           a file's records one after another, whatever its format
hub               the records of a data set on the hub
columns           which columns hold texts and labels
reading           texts and labels out of records, every row checked
splits            validation drawn from train, faulty rows dropped
dataset_folder    LLaMA-Factory's `dataset_info.json` and the files it names
entries           the data sets that it names, read without LLaMA-Factory
"""
