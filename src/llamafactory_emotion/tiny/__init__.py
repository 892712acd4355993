"""A small base model of the Llama-3 architecture, made from nothing but texts.

tokenizer    a byte-level vocabulary with Llama-3's special tokens and word splitting
weights      random weights; some heads of the first layer look at the words just before
reading      next-token prediction on the texts, as every base model has done
"""
