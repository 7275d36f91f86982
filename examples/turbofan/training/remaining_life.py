"""How many cycles does an engine have left?"""

import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor


def train(
    X: pd.DataFrame, y: pd.Series, *, seed: int, iterations: int = 200, learning_rate: float = 0.05
) -> HistGradientBoostingRegressor:
    model = HistGradientBoostingRegressor(
        max_iter=iterations, learning_rate=learning_rate, early_stopping=False, random_state=seed
    )
    return model.fit(X, y)
