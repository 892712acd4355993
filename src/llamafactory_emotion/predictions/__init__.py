"""Files of predictions: LLaMA-Factory's own and ours.

reading    one row at a time, broken rows told apart
writing    whole rows in input order, resumed after any death
"""
