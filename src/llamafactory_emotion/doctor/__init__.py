"""`python -m llamafactory_emotion.doctor`: what would make a run fail, found before it starts."""
