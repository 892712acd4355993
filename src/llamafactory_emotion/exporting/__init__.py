"""Turn a language model that answers with a label into an ordinary sequence classifier.

options         the keys of a call, checked
prompt          the prompt, put into the tokenizer
model           the label rows of the output matrix, as a classifier's head
verification    the written folder against the scorer, text by text
card            the folder's README
run             all of it, in a temporary folder that is moved into place
"""
