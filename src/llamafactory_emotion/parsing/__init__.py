"""A generated answer to a label, or to the reason why it is none.

cleaning   what is no answer goes: reasoning, special tokens, terminal codes
names      which labels a text names as whole words, and which it denies
rules      the rules in their order
"""
