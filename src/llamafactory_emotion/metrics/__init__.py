"""The figures that judge label answers, from counts alone.

counts         accuracy, F1, intervals, from a confusion matrix with a column for invalid
calibration    log loss, Brier score, calibration, risk and coverage, from probabilities
"""
