"""Labelled texts: read them from any usual format, audit and split them, register them.

records           a file's records one after another, whatever its format
lines             the lines of text files, whatever their encoding
delimited         rows of CSV and tab-separated tables
tables            rows of Parquet, Arrow, saved data sets and workbooks
columns           which of them hold texts and labels, and what must not be lost
reading           texts and labels out of records, every row checked
audit             repeats, conflicts, leaks, imbalance
splits            validation drawn from train, faulty rows dropped
dataset_folder    LLaMA-Factory's `dataset_info.json` and the files it names
entries           the data sets that it names, on disk or on the hub
"""
