"""Example data: synthetic census data of any size, and the real census data.

All tables have the columns of the UCI "adult" data set exactly as in its files: names with hyphens, strings with a
leading space (``' >50K'``), unknown values as ``' ?'``. They are :class:`pyarrow.Table` with int64 and string columns.

Requires the extra ``automl`` (or pyarrow and numpy), which is imported when a function is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Floats = np.ndarray[Any, np.dtype[np.float64]]
    Codes = np.ndarray[Any, np.dtype[np.int64]]

TARGET: Final = "class"
POSITIVE: Final = " >50K"
NEGATIVE: Final = " <=50K"

COLUMNS: Final[dict[str, str]] = {
    "age": "int64",
    "workclass": "string",
    "fnlwgt": "int64",
    "education": "string",
    "education-num": "int64",
    "marital-status": "string",
    "occupation": "string",
    "relationship": "string",
    "race": "string",
    "sex": "string",
    "capital-gain": "int64",
    "capital-loss": "int64",
    "hours-per-week": "int64",
    "native-country": "string",
    TARGET: "string",
}
"""The columns of the census tables in order, with their Arrow types."""

TRAIN_ROWS: Final = 32_561
TEST_ROWS: Final = 16_281

# Each: name, share of the population, effect on the log-odds of earning more.
_WORKCLASS: Final = (
    ("Private", 0.697, 0.0),
    ("Self-emp-not-inc", 0.078, -0.5),
    ("Local-gov", 0.064, -0.1),
    ("?", 0.056, -0.3),
    ("State-gov", 0.040, -0.2),
    ("Self-emp-inc", 0.034, 0.6),
    ("Federal-gov", 0.029, 0.5),
    ("Without-pay", 0.001, -2.0),
    ("Never-worked", 0.001, -2.0),
)
# In the order of education-num, from 1; education-num has the effect.
_EDUCATION: Final = (
    ("Preschool", 0.002),
    ("1st-4th", 0.005),
    ("5th-6th", 0.010),
    ("7th-8th", 0.020),
    ("9th", 0.016),
    ("10th", 0.029),
    ("11th", 0.036),
    ("12th", 0.013),
    ("HS-grad", 0.322),
    ("Some-college", 0.224),
    ("Assoc-voc", 0.042),
    ("Assoc-acdm", 0.033),
    ("Bachelors", 0.164),
    ("Masters", 0.053),
    ("Prof-school", 0.018),
    ("Doctorate", 0.013),
)
# Two shares: of people with at most some college, and of the others.
_OCCUPATION: Final = (
    ("Prof-specialty", 0.04, 0.33, 0.7),
    ("Craft-repair", 0.16, 0.05, 0.0),
    ("Exec-managerial", 0.08, 0.22, 1.0),
    ("Adm-clerical", 0.13, 0.09, -0.1),
    ("Sales", 0.11, 0.12, 0.4),
    ("Other-service", 0.13, 0.03, -1.2),
    ("Machine-op-inspct", 0.08, 0.01, -0.4),
    ("?", 0.065, 0.03, -0.6),
    ("Transport-moving", 0.065, 0.01, -0.2),
    ("Handlers-cleaners", 0.055, 0.005, -1.0),
    ("Farming-fishing", 0.035, 0.015, -1.3),
    ("Tech-support", 0.02, 0.055, 0.6),
    ("Protective-serv", 0.02, 0.02, 0.6),
    ("Priv-house-serv", 0.0075, 0.0025, -2.5),
    ("Armed-Forces", 0.0025, 0.0125, 0.0),
)
# Shares of people below 26, from 26 to 35, and older.
_MARITAL: Final = (
    ("Married-civ-spouse", 0.13, 0.46, 0.60, 2.6),
    ("Never-married", 0.82, 0.37, 0.08, -0.4),
    ("Divorced", 0.02, 0.11, 0.20, 0.0),
    ("Separated", 0.015, 0.035, 0.04, -0.2),
    ("Widowed", 0.002, 0.005, 0.06, 0.0),
    ("Married-spouse-absent", 0.012, 0.018, 0.018, -0.2),
    ("Married-AF-spouse", 0.001, 0.002, 0.002, 2.6),
)
_MARRIED: Final = (0, 6)
_RELATIONSHIP: Final = ("Husband", "Wife", "Own-child", "Not-in-family", "Unmarried", "Other-relative")
_RACE: Final = (
    ("White", 0.854, 0.0),
    ("Black", 0.096, -0.2),
    ("Asian-Pac-Islander", 0.032, 0.1),
    ("Amer-Indian-Eskimo", 0.010, -0.3),
    ("Other", 0.008, -0.3),
)
_COUNTRY: Final = (
    ("United-States", 0.896, 0.0),
    ("Mexico", 0.020, -0.7),
    ("?", 0.018, 0.0),
    ("Philippines", 0.008, 0.2),
    ("Germany", 0.007, 0.3),
    ("Canada", 0.007, 0.3),
    ("Puerto-Rico", 0.006, -0.4),
    ("El-Salvador", 0.006, -0.5),
    ("India", 0.006, 0.4),
    ("Cuba", 0.005, 0.0),
    ("England", 0.005, 0.4),
    ("China", 0.005, 0.0),
    ("Jamaica", 0.004, -0.2),
    ("Italy", 0.004, 0.2),
    ("Vietnam", 0.003, -0.4),
)


def census(rows: int, drift: float = 0.0, seed: int = 0) -> pa.Table:
    """Synthetic census data: ``rows`` people, drawn from a known probability model.

    The rows are not a sample of real data: columns, values and shares resemble those of the "adult" data set, and the
    target is drawn with a known probability per row. The best AUC that any model can reach is therefore about 0.965
    without drift (about 0.93 on the real data).

    ``drift`` gradually shifts both the population (older, better educated, fewer couples) and the effects on income
    (less of schooling, occupation and marriage, none of age, more of the hours worked): a model trained without drift
    has an AUC of about 0.96 at drift 0, 0.95 at 0.25, 0.92 at 0.5 and 0.77 at 1, while one trained at the same drift
    stays above 0.94.

    :param rows: the number of rows.
    :param drift: from 0 (none) to 1.
    :param seed: the same seed, rows and drift give the same table; another seed draws other rows.
    :returns: a table with :data:`COLUMNS`; about a quarter of its rows are positive (``' >50K'``).
    :raises ValueError: ``rows`` is negative, or ``drift`` is not in 0 to 1.

    >>> census(1000).column_names[-1]
    'class'
    """
    import numpy as np
    import pyarrow as pa

    columns, probability = _people(rows, drift, seed)
    positive = np.random.default_rng([seed, 1]).random(rows) < probability
    columns[TARGET] = pa.array(np.array([NEGATIVE, POSITIVE])[positive.astype(np.int64)], pa.string())
    return pa.table({name: columns[name] for name in COLUMNS})


def adult() -> tuple[pa.Table, pa.Table]:
    """The real census data, downloaded from OpenML by scikit-learn, which caches it.

    OpenML has the two standard files concatenated and without the leading spaces, which are restored. The files are
    identified by their known first rows; if OpenML's order changes, the split is random with the same sizes (seed 0),
    with a warning.

    :returns: the training table (32,561 rows) and the test table (16,281 rows).
    :raises ImportError: scikit-learn or pandas is missing; the message has the pip command.
    """
    import warnings

    import numpy as np
    import pyarrow as pa

    try:
        from sklearn.datasets import fetch_openml
    except ImportError as error:
        raise ImportError(
            "datasets.adult() requires scikit-learn: pip install 'airflow-provider-automl[automl]'"
        ) from error

    frame = fetch_openml("adult", version=2, as_frame=True, parser="auto").frame
    columns = {}
    for name, kind in COLUMNS.items():
        if kind == "int64":
            columns[name] = pa.array(frame[name].to_numpy(dtype="int64"))
        else:
            text = frame[name].astype("object").where(frame[name].notna(), "?")
            columns[name] = pa.array([" " + str(value).strip() for value in text], pa.string())
    table = pa.table(columns)

    def starts(offset: int, age: int, fnlwgt: int) -> bool:
        return bool(table["age"][offset].as_py() == age and table["fnlwgt"][offset].as_py() == fnlwgt)

    whole = table.num_rows == TRAIN_ROWS + TEST_ROWS
    if whole and starts(0, 25, 226802) and starts(TEST_ROWS, 39, 77516):
        return table.slice(TEST_ROWS), table.slice(0, TEST_ROWS)
    if whole and starts(0, 39, 77516) and starts(TRAIN_ROWS, 25, 226802):
        return table.slice(0, TRAIN_ROWS), table.slice(TRAIN_ROWS)
    warnings.warn("OpenML's order of the adult data is unknown: the split is random", stacklevel=2)
    order = np.random.default_rng(0).permutation(table.num_rows)
    test_rows = table.num_rows // 3
    return table.take(order[test_rows:]), table.take(order[:test_rows])


def adult_from(directory: str | Path) -> tuple[pa.Table, pa.Table]:
    """The real census data from files; leading spaces in strings are kept.

    :param directory: contains ``train.csv`` and ``test.csv``, each with a header of the names in :data:`COLUMNS`.
    :returns: the training table and the test table.
    :raises FileNotFoundError: one of the files is missing.
    :raises ValueError: a file's columns are not those of :data:`COLUMNS`.
    """
    import pyarrow as pa
    from pyarrow import csv

    types = {name: pa.int64() if kind == "int64" else pa.string() for name, kind in COLUMNS.items()}
    tables = []
    for name in ("train.csv", "test.csv"):
        path = Path(directory) / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: give the directory with train.csv and test.csv.")
        table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=types))
        if table.column_names != list(COLUMNS):
            raise ValueError(f"{path} has the columns {table.column_names}, expected {list(COLUMNS)}.")
        tables.append(table)
    return tables[0], tables[1]


def _people(rows: int, drift: float, seed: int) -> tuple[dict[str, Any], Floats]:
    """Everything but the target, and each row's true probability of being positive."""
    import numpy as np
    import pyarrow as pa

    if rows < 0:
        raise ValueError(f"rows is {rows}: give a number of at least 0.")
    if not 0 <= drift <= 1:
        raise ValueError(f"drift is {drift}: give a number from 0 (none) to 1.")
    rng = np.random.default_rng([seed, 0])

    def pick(shares: Floats | tuple[float, ...]) -> Codes:
        bounds = np.cumsum(shares)
        return np.searchsorted(bounds[:-1] / bounds[-1], rng.random(rows), side="right")

    def move(start: float, end: float) -> float:
        return start + drift * (end - start)

    def text(names: tuple[str, ...], codes: Codes) -> pa.Array:
        return pa.DictionaryArray.from_arrays(codes, [" " + name for name in names]).cast(pa.string())

    age = np.clip(17 + rng.gamma(2.4, move(9.2, 10.6), rows), 17, 90).astype(np.int64)
    female = rng.random(rows) < move(0.331, 0.42)
    schooling = 1 + pick(tuple(share * (1 + drift * (number > 11)) for number, (_, share) in enumerate(_EDUCATION)))
    workclass = pick(tuple(share for _, share, _ in _WORKCLASS))
    race = pick(tuple(share for _, share, _ in _RACE))
    country = pick(tuple(share for _, share, _ in _COUNTRY))
    college = schooling > 10
    occupation = np.where(
        college, pick(tuple(row[2] for row in _OCCUPATION)), pick(tuple(row[1] for row in _OCCUPATION))
    )
    couples = np.array([1 - 0.3 * drift if code in _MARRIED else 1.0 for code in range(len(_MARITAL))])
    young, middle, older = np.array([row[1:4] for row in _MARITAL]).T * couples
    marital = np.select([age < 26, age < 36], [pick(young), pick(middle)], pick(older))
    married = np.isin(marital, _MARRIED)
    single = np.where(age < 26, 2 + pick((0.62, 0.24, 0.09, 0.05)), 2 + pick((0.07, 0.58, 0.30, 0.05)))
    relationship = np.where(married, female.astype(np.int64), single)
    hours = 40 + 3 * (occupation == 2) + 2 * (occupation == 0) - 4 * female - 9 * (age < 22) - 6 * (age > 64)
    usual = rng.random(rows) < 0.45
    hours = np.clip(np.where(usual, 40, hours + rng.normal(1, move(11, 13), rows)), 1, 99).astype(np.int64)
    gains = rng.random(rows) < 0.04 + 0.008 * np.maximum(schooling - 8, 0) + 0.0008 * (age - 17)
    capital_gain = np.where(gains, np.minimum(rng.lognormal(8.7, 0.9, rows), 99999), 0).astype(np.int64)
    losses = ~gains & (rng.random(rows) < 0.05)
    capital_loss = np.where(losses, np.clip(rng.normal(1870, 370, rows), 155, 4356), 0).astype(np.int64)

    def effects(table: tuple[tuple[Any, ...], ...], codes: Codes) -> Floats:
        return np.array([row[-1] for row in table])[codes]

    log_odds = (
        move(-6.2, -3.6)
        + move(0.76, 0.3) * (schooling - 10)
        + move(2.0, 1.4) * effects(_MARITAL, marital)
        + move(1.5, 0.3) * effects(_OCCUPATION, occupation)
        + effects(_WORKCLASS, workclass)
        + effects(_RACE, race)
        + effects(_COUNTRY, country)
        + move(0.07, 0.32) * (hours - 40)
        + move(2.8, -0.5) * (1 - ((age - 50) / 18) ** 2).clip(-2.5, 1)
        - 0.4 * female
        + np.where(gains, np.where(capital_gain > move(5000, 9000), 6.0, -1.0), 0.0)
        + np.where(losses, np.where(capital_loss > 1800, 1.8, -0.6), 0.0)
    )
    columns = {
        "age": pa.array(age),
        "workclass": text(tuple(row[0] for row in _WORKCLASS), workclass),
        "fnlwgt": pa.array(np.clip(rng.lognormal(11.98, 0.6, rows), 12285, 1484705).astype(np.int64)),
        "education": text(tuple(row[0] for row in _EDUCATION), schooling - 1),
        "education-num": pa.array(schooling.astype(np.int64)),
        "marital-status": text(tuple(row[0] for row in _MARITAL), marital),
        "occupation": text(tuple(row[0] for row in _OCCUPATION), occupation),
        "relationship": text(_RELATIONSHIP, relationship),
        "race": text(tuple(row[0] for row in _RACE), race),
        "sex": text(("Male", "Female"), female.astype(np.int64)),
        "capital-gain": pa.array(capital_gain),
        "capital-loss": pa.array(capital_loss),
        "hours-per-week": pa.array(hours),
        "native-country": text(tuple(row[0] for row in _COUNTRY), country),
    }
    return columns, 1 / (1 + np.exp(-log_odds))
