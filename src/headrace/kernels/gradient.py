"""Histogram gradient boosting of scikit-learn."""
