"""The engine: a causal language model, or a classification head, to label probabilities.

loading          where a model comes from, checked; type, device, quantisation
models           a language model, its tokenizer and its adapter, loaded
prompts          texts and labels to the token ids that LLaMA-Factory would feed
forward          the forward pass on a shared prefix, checked against the plain one
continuations    labels of several tokens, scored exactly
batches          texts of like length run together, and the `Scores` that come out
heads            classification heads, loaded and scored
scorer           language models scored; `open_scorer` takes a model or a head
generation       free answers instead
"""
