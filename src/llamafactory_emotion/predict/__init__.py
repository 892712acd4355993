"""`python -m llamafactory_emotion.predict`: the probability of every label for every text."""
