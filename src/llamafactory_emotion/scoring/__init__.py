"""The engine: a causal language model, or a classification head, to label probabilities."""
