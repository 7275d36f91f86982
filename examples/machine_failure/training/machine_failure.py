"""Will a machine fail within 24 hours?"""

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier


def train(
    X: pd.DataFrame, y: pd.Series, *, seed: int, iterations: int, learning_rate: float
) -> HistGradientBoostingClassifier:
    model = HistGradientBoostingClassifier(
        max_iter=iterations, learning_rate=learning_rate, early_stopping=False, random_state=seed
    )
    return model.fit(X, y)
