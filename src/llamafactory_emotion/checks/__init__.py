"""What `doctor` looks at before a run: small checks, each of which finds one kind of fault.

finding        a level, a sentence, a remedy
machine        what the machine has: GPUs, memory, packages
context        a recipe with what it names, loaded when a check asks for it
environment    is what is installed able to run at all?
keys           are the recipe's keys and values ones that LLaMA-Factory takes?
data           are the data sets there, sound, and short enough?
model          are model and adapter there, and do labels and end token fit them?
training       do precision, attention, packing, batch and launcher go together?
"""
