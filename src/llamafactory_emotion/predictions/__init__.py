"""Files of predictions: LLaMA-Factory's own and ours.

reading    one row at a time, broken rows told apart
sidecar    what is known of the run that wrote a file, and whether it is the same run
writing    whole rows in input order, resumed after any death
"""
