"""What `doctor` looks at before a run: small checks, each of which finds one kind of fault.

finding        a level, a sentence, a remedy
machine        what the machine has: GPUs, memory, packages
base_model     the configuration and tokenizer of the model that a recipe names
context        a recipe with what it names, loaded when a check asks for it
environment    is what is installed able to run at all?
keys           are the recipe's keys and values ones that LLaMA-Factory takes?
numbers        are its numbers ones that a run can use?
data           are the data sets there, sound, and short enough?
model          are model and adapter there, and do labels and end token fit them?
task           do the rows belong to the task they are meant for?
training       do precision, attention, packing, quantisation and batch go together?
steps          how many optimizer steps are there, and are they enough to learn?
evaluation     is what is evaluated there, and the best checkpoint chosen by it?
needs          does the machine have what the recipe needs?
"""
