"""A generated answer to a label, or to the reason why it is none.

cleaning       what is not answer goes: reasoning, tokens, terminal codes, case
whole_words    what a whole word is, in any script
vocabulary     which labels a text names, and which it denies
rules          the rules in their order
"""
