"""`python -m llamafactory_emotion.prepare`: raw data in, audited LLaMA-Factory data sets out."""
