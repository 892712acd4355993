"""Judge files of predictions, one by one and against each other.

judging       each answer to a label under a match rule
one_file      one pass over a file, all its figures
texts         which text a prompt holds
rows          predictions against their source, errors against the training data
matching      the rows of several files side by side
comparison    paired tests between two files
floor         what a tf-idf SVM does on the same rows
error_list    wrong answers as a table to read
generated     the answers of a run, before they are a file
"""
