"""A causal language model, or a classification head, to label probabilities.

sources          where a model comes from and how it is held
models           a model, its tokenizer and its adapter, loaded
head_models      the same for a sequence classifier
templates        what stands around a text
truncation       where a text that is too long is cut
prompts          a text to the token ids that LLaMA-Factory would feed
shared_cache     keys and values of the beginning that rows share
forward          the forward pass on a shared prefix, checked against the plain one
continuations    labels of several tokens, scored exactly
batches          rows of like length run together
scores           what scoring gives
scorer           texts in, label scores out
head_scorer      the same with a classification head
opening          whichever of the two a folder is
generation       free answers instead
surroundings     the versions and the hardware of a run
"""
