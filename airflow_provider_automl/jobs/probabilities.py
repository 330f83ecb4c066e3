"""Post-processing of a model's probabilities, the same at training and at prediction.

``correction`` in a model's manifest is ``{"prior_odds": r, "temperature": t, "rates": [...]}``:

- ``prior_odds``: a model trained on rebalanced classes sees odds of the positive class that are too high. With the
  true odds ``P/N`` and the odds ``P'/N'`` of the training rows, ``r = (P/N) / (P'/N')``, and the odds of every
  prediction are multiplied by ``r`` (Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori
  probabilities", for binary problems). 1 if nothing was rebalanced.
- ``temperature``: temperature scaling (Guo et al. 2017, "On calibration of modern neural networks"), which minimises
  the log loss on validation rows. It is centred on the class ``rates`` in the data instead of equal rates:
  probabilities of an overconfident model shrink towards the base rate, so rare classes stay rare. In log-odds ``L``
  and base rate ``B``: ``L' = B + (L - B) / t``. AutoGluon's own ``calibrate`` is centred on equal rates, and needs
  torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: The temperature is fitted only from this many validation rows on, in all and (binary) of the rarer class.
_MIN_ROWS, _MIN_RARER_ROWS = 500, 50
_TINY = 1e-15


def correct(probabilities: np.ndarray, correction: Mapping[str, Any]) -> np.ndarray:
    """Corrected probabilities, as doubles.

    :param probabilities: one column per class, or one dimension: the probabilities of the positive class.
    """
    import numpy as np

    p = probabilities.astype(np.float64, copy=False)
    odds, temperature = correction["prior_odds"], correction["temperature"]
    if odds == 1 and temperature == 1:
        return p
    p = np.clip(p, _TINY, 1 - _TINY)
    base = np.log(np.clip(correction["rates"], _TINY, 1))
    if p.ndim == 1:
        center = base[1] - base[0]
        logit = center + (np.log(p) - np.log1p(-p) + np.log(odds) - center) / temperature
        positive: np.ndarray = 1 / (1 + np.exp(-logit))
        return positive
    logits = base + (np.log(p) - base) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray, correction: Mapping[str, Any]) -> float:
    """The temperature that minimises the log loss on validation rows; 1 if no other value is better.

    :param labels: indices of the classes, in the order of the columns (0 and 1 for one dimension).
    :param correction: the correction so far.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar

    rarer = min(labels.sum(), (1 - labels).sum()) if probabilities.ndim == 1 else len(labels)
    if len(labels) < _MIN_ROWS or rarer < _MIN_RARER_ROWS:
        return 1.0

    def loss(log_temperature: float) -> float:
        p = correct(probabilities, {**correction, "temperature": float(np.exp(log_temperature))})
        of_label = np.where(labels == 1, p, 1 - p) if p.ndim == 1 else p[np.arange(len(p)), labels]
        return float(-np.log(np.clip(of_label, _TINY, 1)).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5)), method="bounded")
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def to_json(probabilities: np.ndarray, classes: Sequence[Any]) -> pa.Array:
    """One JSON text per row, ``{"class": probability, ...}``, with doubles in full precision; NaN becomes null."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if probabilities.ndim == 1:
        probabilities = np.column_stack([1 - probabilities, probabilities])
    parts: list[Any] = []
    for index, name in enumerate(classes):
        key = json.dumps(name if isinstance(name, str) else json.dumps(name), ensure_ascii=False)
        parts.append(("{" if index == 0 else ", ") + key + ": ")
        text = pc.cast(pa.array(np.ascontiguousarray(probabilities[:, index])), pa.string())
        parts.append(pc.replace_substring(text, "nan", "null") if np.isnan(probabilities[:, index]).any() else text)
    return pc.binary_join_element_wise(*parts, "}", "")
