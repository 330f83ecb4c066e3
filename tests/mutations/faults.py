"""The faults: what is changed in the code, what a user would see of it, and the tests that must fail.

A fault that was a real defect once names the commit that fixed it. Texts and tests follow the code: whoever changes a
line that a fault replaces, or moves a test that catches one, changes it here as well (``test_faults.py`` checks both).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: The package below the checkout; a fault's file is below it.
PACKAGE: Final = "airflow_provider_automl"


@dataclass(frozen=True)
class Fault:
    """One fault.

    :param name: its name on the command line.
    :param kind: the part of the provider that it is in.
    :param file: the file, below the package.
    :param old: a text that is in the file exactly once.
    :param new: the text that replaces it.
    :param why: what a user would see, in one sentence.
    :param tests: arguments of pytest: the tests that must fail.
    :param before_tests: the same for checkouts in which ``tests`` selects nothing.
    :param commit: the commit that fixed this fault when it was a real one.
    :param engine: the Java server that its tests need, or ``airflow`` for a running Airflow; None: neither.
    """

    name: str
    kind: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]
    before_tests: tuple[str, ...] | None = None
    commit: str | None = None
    engine: str | None = None


def _cases(file: str, *names: str) -> tuple[str, ...]:
    """Select the tests of a file whose names hold one of these; all without any."""
    return (file, "-k", " or ".join(names)) if names else (file,)


_MEASURES = _cases("tests/unit/test_measures.py", "ties", "skipped")
_EVALUATE = _cases("tests/unit/test_evaluate.py", "by_hand", "limits")
_PAIRED = _cases("tests/unit/test_paired.py", "definition", "cut")
_DUCKDB = _cases("tests/warehouse/test_duckdb.py", "any_name", "error_and_append", "failed_append")
_POSTGRES = _cases(
    "tests/warehouse/test_postgres.py",
    "TestPostgres and what_cannot_be_compared",
    "TestPostgres and null_and_empty",
    "transaction_that_reads",
    "TestPostgres and overwrite_error_and_append",
)
_EXCHANGE = _cases("tests/unit/test_exchange.py")
_TRACKING = _cases("tests/unit/test_tracking.py", "record_ids_differ", "same_record_again", "newest")
_MODELS = _cases("tests/unit/test_models.py", "local and (tampered or link or newest or history or deleted)")
_PROMOTE = _cases("tests/unit/test_promote.py", "moment_of_promotion", "inferior", "bad_input and probability")
_PROCESSES = "tests/faults/test_launcher_processes.py"
_TRAIN = "tests/unit/test_jobs_train.py"
_PARTS = _cases("tests/unit/test_jobs_parts.py", "row_ids", "minor_version")
_RARE = _cases(_TRAIN, "other_way_round")
_OVERSAMPLED = _cases(_TRAIN, "oversampled_and")
_OPERATORS = _cases("tests/unit/test_operators.py", "versions_are", "failed_training", "branches_by", "is_away")
_POLICIES = ("tests/unit/test_policies.py", "tests/unit/test_drift_statistics.py")
_ALERTS = _cases("tests/unit/test_drift_operator.py", "another_cause", "recorded_once")
_MAIL = _cases("tests/unit/test_mail.py")
_CLI = _cases("tests/unit/test_cli_models.py", "deleted_and_downloaded", "airflow_has")

_TRINO = _cases("tests/warehouse/test_trino.py", "TestMemory and (overwrite_error or killed or empty_table or ours)")
_TRINO_COUNTS = _cases("tests/warehouse/test_trino.py", "TestMemory and what_cannot_be_compared")
_TRINO_QUERIES = _cases("tests/warehouse/test_trino_queries.py", "killed_predecessor")
_HIVE = _cases("tests/warehouse/test_hive.py", "TestHive and (overwrite_error or put_back or empty_table)")
_SPARK = _cases("tests/warehouse/test_spark.py", "overwrite_error", "ByCursor and every_type")

FAULTS: Final[tuple[Fault, ...]] = (
    # ---- SQL
    Fault(
        name="ties-count-whole",
        kind="SQL",
        file="sql/auc.sql",
        old="q_from - q * CAST(0.5 AS DOUBLE) AS over_p,",
        new="q_from AS over_p,",
        why="The AUC of a model that gives many rows the same score is too low.",
        tests=_MEASURES,
    ),
    Fault(
        name="null-label-is-negative",
        kind="SQL",
        file="sql/auc.sql",
        old="ELSE n - null_labels - nan_labels - positives END",
        new="ELSE n - nan_labels - positives END",
        why="Rows without a label are counted as negatives, and the AUC is of rows that nobody has labelled.",
        tests=_MEASURES,
    ),
    Fault(
        name="integer-division",
        kind="SQL",
        file="sql/macros.py",
        old='"automl_ratio": {"default": "(a0) / (a1)"},',
        new='"automl_ratio": {"default": "(a0) / (a1)", "duckdb": "CAST(a0 AS BIGINT) // CAST(a1 AS BIGINT)"},',
        why="Quotients are cut to whole numbers: average precision is 0, or 1 for a perfect model.",
        tests=_EVALUATE,
    ),
    Fault(
        name="frame-over-all-groups",
        kind="SQL",
        file="sql/scores.sql",
        old='SUM(p) OVER (PARTITION BY "{keys}" ORDER BY score ROWS',
        new="SUM(p) OVER (ORDER BY score ROWS",
        why="The metrics of one group count the positives of the other groups.",
        tests=_cases("tests/warehouse/test_duckdb.py", "measures_equal"),
    ),
    Fault(
        name="huge-numbers-measured",
        kind="SQL",
        file="warehouse/measures.py",
        old="_MOST_NUMBER = 1e75",
        new="_MOST_NUMBER = 1e300",
        why="A prediction of 1e76 makes the mean squared error's interval infinite instead of being refused.",
        tests=_EVALUATE,
        commit="3fca3e5",
    ),
    Fault(
        name="unquoted-column",
        kind="SQL",
        file="sql/__init__.py",
        old="_splice(parent, [exp.column(exp.to_identifier(name, quoted=True)) for name in names])",
        new="_splice(parent, [exp.column(exp.to_identifier(name, quoted=False)) for name in names])",
        why="A table with a quote or a capital letter in a column's name cannot be read, or another column is read.",
        tests=_DUCKDB,
    ),
    Fault(
        name="nan-by-inequality",
        kind="SQL",
        file="sql/macros.py",
        old='"default": "a0 = CAST(\'NaN\' AS DOUBLE PRECISION)",',
        new='"default": "a0 <> a0",',
        why="On Postgres, whose NaN equals itself, a score that is NaN counts as the highest of all.",
        tests=_POSTGRES,
    ),
    Fault(
        name="paired-ties-by-row-order",
        kind="SQL",
        file="sql/paired_auc.sql",
        old="CAST(MAX(champion_p_up_to) OVER (PARTITION BY champion_score) AS DOUBLE) AS champion_p_up_to,",
        new="CAST(champion_p_up_to AS DOUBLE) AS champion_p_up_to,",
        why="The comparison of two models depends on the order of rows with the same score.",
        tests=_PAIRED,
    ),
    Fault(
        name="paired-interval-uncut",
        kind="statistics",
        file="warehouse/paired.py",
        old="test[end] = max(value, limit) if limit < 0 else min(value, limit)",
        new="test[end] = value",
        why="The interval of a difference of two AUCs reaches beyond 1.",
        tests=_PAIRED,
        commit="35ec83f",
    ),
    Fault(
        name="paired-as-independent",
        kind="statistics",
        file="warehouse/paired.py",
        old='_test(difference, error("gain"), alike,',
        new='_test(difference, math.hypot(error("champion"), error("challenger")), alike,',
        why="Two models are compared as if on different rows, and a better one is not promoted.",
        tests=_PAIRED,
    ),
    # ---- publishing
    Fault(
        name="append-doubles-rows",
        kind="publishing",
        file="warehouse/duckdb.py",
        old="                if delete_where:\n",
        new="                if not delete_where:\n",
        why="A retry of a leaderboard's export on DuckDB leaves every row twice.",
        tests=_DUCKDB,
    ),
    Fault(
        name="duckdb-without-transaction",
        kind="publishing",
        file="warehouse/duckdb.py",
        old="""                if write:
                    connection.begin()
                yield connection
                if write:
                    connection.commit()
""",
        new="                yield connection\n",
        why="An append to DuckDB that fails has deleted the rows that it was to replace.",
        tests=_DUCKDB,
    ),
    Fault(
        name="rename-skipped",
        kind="publishing",
        file="warehouse/postgres.py",
        old='        self._run(cursor, "rename_table", table=made, name=table_of(target.name))\n',
        new="",
        why="A load drops the old table, and the new rows stay under the name of the staging table.",
        tests=_POSTGRES,
    ),
    Fault(
        name="truncate-before-insert",
        kind="publishing",
        file="warehouse/postgres.py",
        old='self._run(cursor, "delete", table=target, condition={})',
        new='cursor.execute(f"TRUNCATE TABLE {target.sql(self.dialect)}")',
        why="A transaction on Postgres that has begun to read sees an empty table while predictions are replaced.",
        tests=_POSTGRES,
    ),
    Fault(
        name="another-load-ended",
        kind="publishing",
        file="warehouse/postgres.py",
        old='{target.sql(self.dialect)}\\n{key}".encode()',
        new='{target.sql(self.dialect)}".encode()',
        why="A load on Postgres ends the session of another task that loads the same table.",
        tests=_cases("tests/warehouse/test_postgres.py", "retry_ends_its_predecessor"),
    ),
    Fault(
        name="empty-text-is-null",
        kind="publishing",
        file="warehouse/postgres.py",
        old="quoted_strings_can_be_null=False,",
        new="quoted_strings_can_be_null=True,",
        why="Empty texts of a Postgres table reach the model as NULL.",
        tests=_POSTGRES,
    ),
    # ---- recording
    Fault(
        name="staging-shared-with-the-dead",
        kind="publishing",
        file="warehouse/exchange.py",
        old="        self.path = whole / uuid.uuid4().hex\n",
        new="        self.path = whole\n",
        why="A retry also reads the files that the engine still writes for the attempt that was killed.",
        tests=_EXCHANGE,
        commit="a900f96",
    ),
    Fault(
        name="staging-of-the-living-removed",
        kind="publishing",
        file="warehouse/exchange.py",
        old="time.time() - path.stat().st_mtime > _ABANDONED:",
        new="time.time() - path.stat().st_mtime >= 0:",
        why="A load removes the staged files of another load that is at work.",
        tests=_EXCHANGE,
    ),
    Fault(
        name="record-without-lock",
        kind="recording",
        file="warehouse/base.py",
        old="self._lock(cursor, target)\n            columns = self._columns(cursor, target)\n            wanted",
        new="columns = self._columns(cursor, target)\n            wanted",
        why="Two tasks that record one row at the same moment on Postgres both insert it.",
        tests=_cases("tests/warehouse/test_postgres.py", "TestPostgres and record_the_same_row"),
    ),
    Fault(
        name="recorded-at-counts",
        kind="recording",
        file="warehouse/base.py",
        old='for name, value in stored.items() if name.lower() != "recorded_at"',
        new="for name, value in stored.items()",
        why="A retry that records the same row replaces it, and says so, instead of leaving it.",
        tests=_TRACKING,
    ),
    Fault(
        name="superseded-row-counts",
        kind="recording",
        file="sql/newest.sql",
        old="WHERE (recorded_at = last_recorded_at OR record_id IS NULL) AND :condition",
        new="WHERE :condition",
        why="A version that is no longer shared is found by its old UUID on engines without transactions.",
        tests=_TRACKING,
        commit="fdbbabf",
    ),
    Fault(
        name="record-ids-collide",
        kind="recording",
        file="tracking/store.py",
        old="json.dumps([None if part is None else str(part) for part in parts]).encode()",
        new='"".join(str(part) for part in parts).encode()',
        why="The rows of run 'a1' of task 'b' and of run 'a' of task '1b' overwrite each other.",
        tests=_TRACKING,
    ),
    # ---- registry
    Fault(
        name="digest-not-checked",
        kind="registry",
        file="jobs/model_files.py",
        old="if hashlib.sha256(text).hexdigest() != digest:",
        new="if not digest:",
        why="A pickle that somebody put into the model store, with a manifest that fits it, is loaded.",
        tests=_MODELS,
    ),
    Fault(
        name="link-out-of-the-store",
        kind="registry",
        file="models/store.py",
        old="if not found.resolve().is_relative_to(base.resolve()):",
        new="if not found.is_relative_to(base):",
        why="A symbolic link in the model store shows any file of the machine as a report.",
        tests=_MODELS,
    ),
    Fault(
        name="newest-by-name",
        kind="registry",
        file="models/store.py",
        old='return max(rows, key=lambda row: row["created_at"])',
        new='return max(rows, key=lambda row: row["model_version"])',
        why="A prediction without a version uses the one that sorts last, not the newest.",
        tests=_MODELS,
    ),
    Fault(
        name="rollback-to-the-first",
        kind="registry",
        file="models/store.py",
        old="return self.set_alias(alias, before[-1], assigned_by",
        new="return self.set_alias(alias, before[0], assigned_by",
        why="Rolling an alias back brings the very first version back, not the one before.",
        tests=_MODELS,
    ),
    Fault(
        name="alias-of-a-deleted-version",
        kind="registry",
        file="models/store.py",
        old='        if any(_same(version, held) for version in self.versions(held["model_name"])):\n',
        new="        if held is not None:\n",
        why="An alias points at a version that was deleted at the same moment, and every prediction fails.",
        tests=_MODELS,
    ),
    Fault(
        name="version-deleted-under-its-alias",
        kind="registry",
        file="models/store.py",
        old="            self._refuse_used(deleted)  # an alias that came in between\n",
        new="            pass\n",
        why="A version is deleted although an alias was pointed at it at the same moment.",
        tests=_MODELS,
    ),
    Fault(
        name="alias-race-unseen",
        kind="registry",
        file="models/store.py",
        old="                _refuse_changed(alias, _in_order(history), *since)\n",
        new="                pass\n",
        why="Two promotions at one moment both succeed, and one overwrites the other without a comparison.",
        tests=_PROMOTE,
        commit="f97777d",
    ),
    Fault(
        name="non-inferior-by-estimate",
        kind="statistics",
        file="operators/promote.py",
        old="better = low is not None and low > -margin",
        new="better = difference is not None and difference > -margin",
        why="A challenger that may well be worse than the margin allows is promoted as not inferior.",
        tests=_PROMOTE,
    ),
    # ---- launcher
    Fault(
        name="orphans-survive",
        kind="launcher",
        file="launchers/process.py",
        old="close()\n            processes.kill_all(lambda: processes.marked(self._token))\n",
        new="close()\n",
        why="Processes that a job has detached go on computing after its supervisor was killed.",
        tests=_cases(_PROCESSES, "supervisor_is_killed"),
    ),
    Fault(
        name="timeout-ignored",
        kind="launcher",
        file="jobs/supervisor.py",
        old="if timeout is not None and now - start > timeout:",
        new="if timeout is not None and now - start > 10 * timeout:",
        why="A training with a timeout of an hour runs for ten.",
        tests=_cases(_PROCESSES, "timeout"),
    ),
    Fault(
        name="memory-limit-ignored",
        kind="launcher",
        file="jobs/supervisor.py",
        old="reached = processes.memory(processes.descendants([os.getpid()]), above=limit)",
        new="reached = processes.memory([worker], above=limit)",
        why="Only the job's first process is measured: what its children hold brings the machine down.",
        tests=(*_cases(_PROCESSES, "test_memory_limit"), "--timeout=40"),
    ),
    Fault(
        name="shared-memory-counted-twice",
        kind="launcher",
        file="jobs/processes.py",
        old='line.startswith((b"Pss:", b"SwapPss:"))',
        new='line.startswith((b"Rss:", b"SwapPss:"))',
        why="A training that forks is killed by its memory limit though its processes share their memory.",
        tests=_cases(_PROCESSES, "shared", "secrets"),
    ),
    Fault(
        name="secrets-reach-the-job",
        kind="launcher",
        file="launchers/process.py",
        old='unwanted = ("AIRFLOW", "_AIRFLOW", "PYTHONPATH",',
        new='unwanted = ("_AIRFLOW", "PYTHONPATH",',
        why="The passwords of Airflow's connections are in the environment of a user's notebook.",
        tests=_cases(_PROCESSES, "shared", "secrets"),
    ),
    # ---- jobs
    Fault(
        name="validation-rows-learnt",
        kind="jobs",
        file="jobs/train.py",
        old="rest = np.setdiff1d(np.arange(len(frame)), validation)",
        new="rest = np.arange(len(frame))",
        why="With oversampling, models learn the rows that they are validated on, and the score is too good.",
        tests=_cases(_TRAIN, "validated_on"),
    ),
    Fault(
        name="calibration-skipped",
        kind="jobs",
        file="jobs/train.py",
        old='if job["proba_calibration"] and len(labels):',
        new='if not job["proba_calibration"] and len(labels):',
        why="Probabilities are not calibrated although the training asked for it.",
        tests=_cases(_TRAIN, "calibrat"),
    ),
    Fault(
        name="prior-correction-one-way",
        kind="jobs",
        file="jobs/train.py",
        old="= odds if minority_is_positive else 1 / odds",
        new="= odds",
        why="After oversampling a rare negative class, nearly every row is predicted as negative.",
        tests=_RARE,
    ),
    Fault(
        name="prediction-uncorrected",
        kind="jobs",
        file="jobs/predict.py",
        old='probabilities = correct(raw, manifest["correction"])',
        new="probabilities = raw.astype(np.float64)",
        why="A prediction leaves out the correction that the training found: probabilities are those of other rows.",
        tests=_RARE,
        before_tests=_OVERSAMPLED,
    ),
    Fault(
        name="positive-class-ignored",
        kind="jobs",
        file="jobs/train.py",
        old='positive = {} if plan.positive_class is None else {"positive_class": _inner(plan.positive_class)}',
        new="positive: dict[str, Any] = {}",
        why="A training with a positive_class of its own predicts the probability of the other class.",
        tests=_cases(_TRAIN, "positive_class_is_meant and false"),
    ),
    Fault(
        name="repeated-row-ids-pass",
        kind="jobs",
        file="jobs/rowids.py",
        old="        bits.sort()\n",
        new="",
        why="A row id that occurs twice is not noticed, and predictions cannot be joined back.",
        tests=_PARTS,
    ),
    Fault(
        name="python-version-unchecked",
        kind="jobs",
        file="jobs/model_files.py",
        old="    if ours != theirs:\n",
        new="    if ours[0] != theirs[0]:\n",
        why="A model of Python 3.11 is loaded by 3.12, and fails in the middle of a prediction.",
        tests=_PARTS,
    ),
    Fault(
        name="seed-ignored",
        kind="jobs",
        file="jobs/train.py",
        old='learner_kwargs={"random_state": int(job["random_seed"])},',
        new='learner_kwargs={"random_state": 0},',
        why="Another random_seed trains the same model.",
        tests=_cases(_TRAIN, "seed"),
    ),
    # ---- operators
    Fault(
        name="retry-is-a-new-version",
        kind="operators",
        file="operators/_base.py",
        old="generation=ti.max_tries or 0,",
        new="generation=ti.try_number,",
        why="A retry of a training makes a second version, and the first one's files stay for ever.",
        tests=_OPERATORS,
    ),
    Fault(
        name="input-error-retried",
        kind="operators",
        file="operators/_base.py",
        old="        except InputError as error:\n            raise AirflowFailException(str(error)) from error\n",
        new="        except InputError:\n            raise\n",
        why="A task with a misspelt column is retried for hours.",
        tests=_OPERATORS,
    ),
    Fault(
        name="failure-leaves-no-xcom",
        kind="operators",
        file="operators/train.py",
        old="                self._push(context, experiment)\n                raise\n",
        new="                raise\n",
        why="A failed training is recorded as killed, without its error.",
        tests=_OPERATORS,
    ),
    Fault(
        name="branch-inverted",
        kind="operators",
        file="operators/drift.py",
        old="if not decision.drifted:",
        new="if decision.drifted:",
        why="A healthy model is trained anew, and a drifted one is left.",
        tests=_OPERATORS,
    ),
    Fault(
        name="retry-trains-again",
        kind="operators",
        file="operators/train.py",
        old='if row["model_version"] == version), None)',
        new='if row["model_version"] == version and not version), None)',
        why="A task that is killed after its model was registered trains for another hour and replaces the model.",
        tests=_cases("tests/operators/test_operators_run.py", "registered_training"),
    ),
    Fault(
        name="staging-of-dead-tasks-kept",
        kind="operators",
        file="operators/_base.py",
        old="        _sweep(directory.parent)\n",
        new="",
        why="What killed tasks left in the staging directory fills the worker's disk.",
        tests=_cases("tests/operators/test_operators_run.py", "left_in_staging"),
        commit="a54d0c5",
    ),
    Fault(
        name="scores-of-another-class",
        kind="operators",
        file="operators/evaluate.py",
        old="if scored is not None and not _same_class(scored, positive_class):",
        new="if scored is not None and positive_class is None:",
        why="An evaluation, or a promotion, of the other class goes by an AUC that is upside down.",
        tests=_PROMOTE,
        commit="a54d0c5",
    ),
    Fault(
        name="store-away-loses-the-prediction",
        kind="operators",
        file="operators/predict.py",
        old="except (OSError, AutoMLError, ValueError) as error:",
        new="except (OSError, InputError, ValueError) as error:",
        why="A model store that cannot be reached for a moment fails a prediction that is already published.",
        tests=_OPERATORS,
        commit="597bdc0",
    ),
    # ---- drift
    Fault(
        name="loss-by-the-wrong-sign",
        kind="policies",
        file="drift/policies.py",
        old="sign = 1 if higher else -1",
        new="sign = 1",
        why="A model whose log loss doubles is reported as healthy.",
        tests=_POLICIES,
    ),
    Fault(
        name="own-run-in-the-baseline",
        kind="policies",
        file="drift/policies.py",
        old='if run == (None, None) or (row.get("dag_id"), row.get("run_id")) != run]',
        new="]",
        why="A retry compares the evaluation with itself and finds no drift.",
        tests=_POLICIES,
    ),
    Fault(
        name="two-sided-test",
        kind="statistics",
        file="drift/statistics.py",
        old="    return normal_below((current.value - value) / current.error)\n",
        new="    return 2 * normal_below(-abs(current.value - value) / current.error)\n",
        why="Half of the drops that alpha promises to find are missed, and a rise is drift.",
        tests=_POLICIES,
    ),
    Fault(
        name="baseline-without-error",
        kind="statistics",
        file="drift/statistics.py",
        old="total = current.error**2 + within / count + added",
        new="total = current.error**2 + added",
        why="A baseline is taken for exact: a healthy model raises three times as many false alarms.",
        tests=_POLICIES,
    ),
    Fault(
        name="alert-every-day",
        kind="policies",
        file="operators/drift.py",
        old="if told is None or run.session_time - told >= remind_after:",
        new="if told is None or run.session_time >= told:",
        why="The same drift is mailed every day.",
        tests=_ALERTS,
    ),
    Fault(
        name="decision-not-recorded",
        kind="policies",
        file="operators/drift.py",
        old="            self._record(run, decision)\n",
        new="",
        why="A retraining starts, and nothing in the warehouse says why.",
        tests=_ALERTS,
    ),
    # ---- mail, CLI, DAGs
    Fault(
        name="threshold-reported-twice",
        kind="mail",
        file="mail/__init__.py",
        old='told = ("threshold",) if decision.get("compared_with") else ()',
        new="told: tuple[str, ...] = ()",
        why="The mail about drift names the threshold twice.",
        tests=_MAIL,
        commit="0526fd6",
    ),
    Fault(
        name="mail-unescaped",
        kind="mail",
        file="mail/__init__.py",
        old="jinja2.Environment(autoescape=True,",
        new="jinja2.Environment(autoescape=False,",
        why="A table whose name holds HTML changes what the mail shows.",
        tests=_MAIL,
    ),
    Fault(
        name="errors-exit-0",
        kind="command line",
        file="cli.py",
        old="        print(error, file=sys.stderr)\n        return 1\n",
        new="        print(error, file=sys.stderr)\n        return 0\n",
        why="A script that deletes a model goes on although the command has refused it.",
        tests=_CLI,
    ),
    Fault(
        name="airflow-command-without-options",
        kind="command line",
        file="cli.py",
        old="arguments = [Arg(flags=flags, **settings) for flags, settings in (*command.options, *_COMMON)]",
        new="arguments = [Arg(flags=flags, **settings) for flags, settings in command.options]",
        why="'airflow automl models list --output json' is refused.",
        tests=_CLI,
    ),
    Fault(
        name="parsing-imports-pandas",
        kind="DAG files",
        file="operators/evaluate.py",
        old="from airflow_provider_automl.errors import AutoMLError, InputError\n",
        new="import pandas\n\nfrom airflow_provider_automl.errors import AutoMLError, InputError\n",
        why="Every parse of a DAG file takes a second longer, and fails where pandas is not installed.",
        tests=_cases("tests/unit/test_packaging.py", "parsing_the_dags"),
    ),
    Fault(
        name="query-written-anew",
        kind="SQL",
        file="warehouse/base.py",
        old="framed(source.text(self.dialect)) if isinstance(source, Query)",
        new="framed(source.parse(self.dialect).sql(self.dialect)) if isinstance(source, Query)",
        why="A user's query loses a part of an interval, and a model is trained on fewer rows without a word.",
        tests=_cases("tests/warehouse/test_verbatim.py", "duckdb"),
    ),
    Fault(
        name="files-in-reach",
        kind="rights",
        file="warehouse/duckdb.py",
        old='("deny_external_access", "lock_settings")',
        new='("lock_settings",)',
        why="A query on the embedded warehouse reads the server's files.",
        tests=_cases("tests/security/test_queries.py", "reaches_no_file"),
    ),
    Fault(
        name="reads-may-write",
        kind="rights",
        file="warehouse/postgres.py",
        old='"read_only": "off" if write else "on"',
        new='"read_only": "off"',
        why="A function in a query deletes rows on Postgres.",
        tests=_cases("tests/security/test_queries.py", "writes_on_postgres"),
    ),
    Fault(
        name="place-in-hyperparameters",
        kind="rights",
        file="jobs/checks.py",
        old="        _refuse_places(value, str(key))\n",
        new="",
        why="A hyperparameter has a directory outside of the model deleted.",
        tests=_cases("tests/security/test_inputs.py", "no_place"),
    ),
    # ---- Trino
    Fault(
        name="trino-rename-skipped",
        kind="publishing",
        file="warehouse/trino.py",
        old="            self._rename(cursor, new, target)\n        except BaseException:\n",
        new="        except BaseException:\n",
        why="After a load the target's name is missing, and its old rows are gone.",
        tests=_TRINO,
        engine="trino",
    ),
    Fault(
        name="trino-null-rows-lost",
        kind="publishing",
        file="sql/trino/merged.sql",
        old="WHERE CASE WHEN :condition THEN 0 ELSE 1 END = 1",
        new="WHERE NOT (:condition)",
        why="An append that replaces one model's rows also loses the rows whose model is NULL.",
        tests=_TRINO,
        engine="trino",
    ),
    Fault(
        name="trino-empty-table-taken-for-published",
        kind="publishing",
        file="warehouse/trino.py",
        old="if not self._is_conflict(error) or self._mark(cursor, target) or self._count(cursor, target):",
        new="if True:",
        why="The old rows are dropped when another session has made an empty table between the two renames.",
        tests=_TRINO,
        commit="e4499e1",
        engine="trino",
    ),
    Fault(
        name="trino-mark-not-checked",
        kind="publishing",
        file="warehouse/trino.py",
        old="                dead = mark is not None and mark.is_dead(load)\n",
        new="                dead = mark is None or mark.is_dead(load)\n",
        why="A load drops a user's own table whose name looks like one of the provider's.",
        tests=_TRINO,
        engine="trino",
    ),
    Fault(
        name="trino-old-table-kept",
        kind="publishing",
        file="warehouse/trino.py",
        old="past = (base in ours and ours[base].is_dead(load)) or (mark is not None and mark.is_dead(load))",
        new="past = base in ours and ours[base].is_dead(load)",
        why="A load that is killed after its last rename leaves the old table for ever.",
        tests=_TRINO,
        commit="43a6ff1",
        engine="trino",
    ),
    Fault(
        name="trino-no-recovery",
        kind="publishing",
        file="warehouse/trino.py",
        old="            elif olds:\n                self._rename(cursor, found[olds[0]], target)\n",
        new="            elif olds:\n                pass\n",
        why="The old rows of a load that was killed between its two renames are never restored.",
        tests=_TRINO,
        engine="trino",
    ),
    Fault(
        name="trino-nan-by-equality",
        kind="SQL",
        file="sql/macros.py",
        old='"trino": "IS_NAN(a0)",',
        new='"trino": "a0 = CAST(\'NaN\' AS DOUBLE)",',
        why="On Trino, whose NaN equals nothing, a score that is NaN counts as an ordinary one.",
        tests=_TRINO_COUNTS,
        engine="trino",
    ),
    Fault(
        name="trino-retry-ends-nothing",
        kind="operators",
        file="warehouse/trino.py",
        old="int(attempt) < int(self._task.attempt):",
        new="int(attempt) > int(self._task.attempt):",
        why="The query of a killed task runs on beside that of its retry.",
        tests=_TRINO_QUERIES,
        commit="fdbe03b",
        engine="trino",
    ),
    # ---- Hive, Spark
    Fault(
        name="hive-null-rows-lost",
        kind="publishing",
        file="sql/hive/keep.sql",
        old="WHERE CASE WHEN :condition THEN 0 ELSE 1 END = 1",
        new="WHERE NOT (:condition)",
        why="An append that replaces one model's rows also loses the rows whose model is NULL.",
        tests=_HIVE,
        engine="hive",
    ),
    Fault(
        name="hive-no-recovery",
        kind="publishing",
        file="warehouse/hive.py",
        old="                self._recover(cursor, target)\n                self._sweep(",
        new="                self._sweep(",
        why="The old rows of a load that was killed between its two renames are lost to the next append.",
        tests=_HIVE,
        engine="hive",
    ),
    Fault(
        name="hive-empty-table-taken-for-published",
        kind="publishing",
        file="warehouse/hive.py",
        old="if self._mark_of(cursor, target) or self._count(cursor, target):",
        new="if True:",
        why="The old rows are dropped when another session has made an empty table between the two renames.",
        tests=_HIVE,
        commit="e4499e1",
        engine="hive",
    ),
    Fault(
        name="hive-wrong-quote",
        kind="SQL",
        file="warehouse/hive.py",
        old="""{"\\\\": "\\\\\\\\", "'": "\\\\'", """,
        new="""{"\\\\": "\\\\\\\\", "'": "''", """,
        why="Texts with an apostrophe lose it on their way into a Hive table.",
        tests=_cases("tests/warehouse/test_hive.py", "TestHiveByCursor and every_type"),
        engine="hive",
    ),
    Fault(
        name="comment-is-a-statement",
        kind="SQL",
        file="warehouse/query.py",
        old='            if kind in ("blank", "comment"):\n                continue\n            if self.sql',
        new='            if kind == "blank":\n                continue\n            if self.sql',
        why="A query that ends in a semicolon and a comment is refused as two statements.",
        tests=_cases("tests/warehouse/test_verbatim.py", "duckdb"),
        commit="8613be3",
    ),
    Fault(
        name="spark-null-rows-lost",
        kind="publishing",
        file="sql/spark/keep.sql",
        old="WHERE CASE WHEN :condition THEN 0 ELSE 1 END = 1",
        new="WHERE NOT (:condition)",
        why="An append that replaces one model's rows also loses the rows whose model is NULL.",
        tests=_SPARK,
        engine="spark",
    ),
    Fault(
        name="spark-time-zone",
        kind="SQL",
        file="warehouse/spark.py",
        old='"spark.sql.session.timeZone": "UTC",',
        new='"spark.sql.session.timeZone": "Asia/Tokyo",',
        why="Times with a zone are hours off after they were written to Spark.",
        tests=_SPARK,
        engine="spark",
    ),
    # ---- a real Airflow
    Fault(
        name="report-without-rights",
        kind="reports",
        file="ui/app.py",
        old="        _require_rights(str(dag_id), request, user)\n",
        new="",
        why="Whoever can log in to Airflow can read the reports of DAGs that are hidden from them.",
        tests=_cases("tests/system/test_workflow.py", "reports_are_shown"),
        engine="airflow",
    ),
    Fault(
        name="killed-training-unrecorded",
        kind="recording",
        file="operators/experiments.py",
        old='if experiment["state"] in (ExperimentState.RUNNING, None):',
        new='if experiment["state"] is None:',
        why="A training whose process was killed is recorded as running for ever.",
        tests=_cases("tests/system/test_failures.py", "killed_without_a_word"),
        engine="airflow",
    ),
)
