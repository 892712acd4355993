"""A causal language model to label probabilities.

models           a model, its tokenizer and its adapter, loaded
prompts          a text to the token ids that LLaMA-Factory would feed
forward          the forward pass on a shared prefix, checked against the plain one
continuations    labels of several tokens, scored exactly
scorer           texts in, label scores out
generation       free answers instead
"""
