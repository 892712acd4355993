"""`python -m llamafactory_emotion.train_head`: a classifier with a head of its own."""
