"""`python -m llamafactory_emotion.init`: a working folder with recipes and data."""
