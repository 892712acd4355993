"""What the command `predict` does.

options        the keys of a call, checked
checkpoints    those of a training run, and one model in memory at a time
inputs         the rows to predict, from a file or a LLaMA-Factory data set
run            chunk by chunk into the predictions file
length_study   several cutoffs: the lengths, the files, the table
description    the sidecar: what was run, with what, how fast
"""
