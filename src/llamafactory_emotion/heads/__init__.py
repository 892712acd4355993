"""Train a classification head: an encoder or a decoder that gives logits instead of an answer.

`arguments` reads the call, `data` the rows, `model` loads what is trained, `blocks` freezes parts
of it, `adapters` puts LoRA on it, `record` keeps runs apart, `training` sets up transformers'
trainer, `saving` writes the folder and the test predictions, `description` says what the run was.
Needs no LLaMA-Factory.
"""
