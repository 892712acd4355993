"""A generated answer to a label, or to the reason why it is none; and a gold value to its label.

cleaning      what is no answer goes: reasoning, special tokens, terminal codes
names         which labels a text names as whole words
phrases       the words around answers, by language
surroundings  whether an answer is expected, denied or enumerated where a name is
rules         the rules in their order
gold          gold values, read like answers
"""
