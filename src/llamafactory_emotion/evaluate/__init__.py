"""`python -m llamafactory_emotion.evaluate`: how good the predictions in these files are."""
