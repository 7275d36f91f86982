"""Will a pump fail within 24 hours?"""

import pandas as pd
from sklearn.ensemble import RandomForestClassifier


def train(
    X: pd.DataFrame, y: pd.Series, *, seed: int, trees: int = 50, depth: int = 10
) -> RandomForestClassifier:
    forest = RandomForestClassifier(
        trees,
        max_depth=depth,
        min_samples_leaf=20,  # about a day of hours: one failure is not a pattern
        max_samples=0.2,
        n_jobs=2,
        random_state=seed,
    )
    return forest.fit(X, y)
