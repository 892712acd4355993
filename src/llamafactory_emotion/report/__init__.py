"""Show what was found: no module here computes a figure.

tables, terminal          tables for a terminal or a pipe
comparison, audit         the tables of two commands
page, model_card, plot    a self-contained page, a model card's section, a picture
as_json                   the keys of `--json`
files                     which of them a call asks for
"""
