"""`python -m llamafactory_emotion.export_classifier`: a trained model as an ordinary classifier."""
