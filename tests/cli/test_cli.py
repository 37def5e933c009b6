"""The command line: the same numbers as Python gives, and one line where something is wrong."""

import datetime
import json
import os
import subprocess
import sys
import warnings
from inspect import signature

import keras
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from pandas._libs.parsers import STR_NA_VALUES

from tests.conftest import SMALL, small_panel
from tsfusion import DataWarning, FusionForecaster
from tsfusion.cli import main
from tsfusion.cli.main import _forecaster
from tsfusion.cli.tables import _MISSING, read_table, write_table

TINY = [f"{name}={json.dumps(value)}" for name, value in SMALL.items() if value is not None]
TINY = [text for text in TINY if not text.startswith(("verbose", "random_state", "max_epochs"))]
ROLES = {
    "time": "date", "series": "store", "target": "sales", "known": ["price", "event"],
    "observed": ["weather"], "static": ["region", "size"],
}  # fmt: skip
FLAGS = [
    "--target", "sales", "--time", "date", "--series", "store", "--known", "price,event",
    "--observed", "weather", "--static", "region", "--static", "size", "--horizon", "7",
    "--max-epochs", "1", *(part for text in TINY for part in ("--set", text)),
]  # fmt: skip


# Click 8.1 must be asked for the two streams apart; later releases always do that.
APART = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}


def run(*arguments, code=0, **kwargs):
    result = CliRunner(**APART).invoke(main, [str(one) for one in arguments], **kwargs)
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory, eager):
    """Tables of a history, what follows and what is known of it; and a fitted model."""
    folder = tmp_path_factory.mktemp("cli")
    panel = small_panel(n_steps=80)
    days = (panel["date"] - panel["date"].min()).dt.days
    panel[days < 60].to_csv(folder / "history.csv", index=False)
    panel[(days >= 60) & (days < 73)].to_csv(folder / "later.csv", index=False)
    known = panel[["store", "date", "price", "event"]]
    known[(days >= 60) & (days < 67)].to_csv(folder / "future.csv", index=False)
    known[(days >= 73)].to_parquet(folder / "after.parquet", index=False)
    told = run("fit", folder / "history.csv", *FLAGS, "--json", "-o", folder / "model.tsf")
    (folder / "told.json").write_text(told.stdout)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return FusionForecaster.load(folder / "model.tsf")


def same(table, expected):
    for name in expected:
        if pd.api.types.is_numeric_dtype(expected[name]):
            np.testing.assert_allclose(table[name], expected[name], rtol=1e-9)
        else:
            assert list(table[name].astype(str)) == list(expected[name].astype(str)), name


def test_labels_and_codes_are_read_as_the_model_knows_them(tmp_path, tiny, eager):
    days = pd.date_range("2024-01-01", periods=45)
    names = ["007", "7", "NA", "None", "A"]
    table = pd.concat(
        [pd.DataFrame({"shop": name, "day": days, "y": np.arange(45.0)}) for name in names]
    )
    table["code"] = np.where(np.arange(len(table)) % 3 == 0, "X", "2")
    late = table["day"] > days[37]
    after = table["day"] > days[40]
    for name, rows in {
        "all": table[~late], "later": table[late & ~after & (table["shop"] == "7")],
        "future": table[after].assign(code="2").drop(columns="y"),
    }.items():  # fmt: skip
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    at = {"all": tmp_path / "all.csv", "model": tmp_path / "model.tsf"}
    run("fit", at["all"], "--series", "shop", "--target", "y", "--known", "code", "--horizon", "7",
        "--max-epochs", "1", *(part for text in TINY for part in ("--set", text)), "-q",
        "-o", at["model"])  # fmt: skip
    model = FusionForecaster.load(at["model"])
    assert sorted(model.series_) == sorted(names)
    assert list(model._fitted.encoder.vocabularies["code"]) == ["2", "X"]
    # Of the store 7 alone, and of the code 2 alone, pandas would make numbers.
    run("update", at["model"], tmp_path / "later.csv", "-o", tmp_path / "later.tsf")
    assert sorted(FusionForecaster.load(tmp_path / "later.tsf").series_) == sorted(names)
    rows = table[(table["day"] > days[37]) & (table["day"] <= days[44])].assign(code="2")
    rows.drop(columns="y").to_csv(tmp_path / "ahead.csv", index=False)
    run("forecast", at["model"], tmp_path / "ahead.csv", "-o", tmp_path / "out.csv")
    written = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert set(written["shop"]) == set(names)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "2"], [1, 2]), (["01", "2"], ["01", "2"]), (["1", "A"], ["1", "A"]),
        (["1.0", "2"], ["1.0", "2"]), (["-5", "0"], [-5, 0]), (["1", ""], [1, np.nan]),
        (["NA", "x"], ["NA", "x"]), ([str(10**20), "1"], [str(10**20), "1"]),
    ],
)  # fmt: skip
def test_labels_are_names_or_whole_numbers(cells, expected, tmp_path):
    (tmp_path / "a.csv").write_text("s,y\n" + "".join(f'"{cell}",1\n' for cell in cells))
    found = read_table(str(tmp_path / "a.csv"), labels=["s", "not there"])["s"]
    pd.testing.assert_series_equal(found, pd.Series(expected, name="s"))
    assert set(_MISSING) == STR_NA_VALUES
    pd.DataFrame({"s": cells}).to_parquet(tmp_path / "a.parquet")
    assert list(read_table(str(tmp_path / "a.parquet"), labels=["s"])["s"]) == cells
    texts = read_table(str(tmp_path / "a.csv"), names=["s"])["s"]
    assert list(texts.fillna("")) == cells


def test_fit_is_that_of_python(folder, model, eager):
    told = json.loads((folder / "told.json").read_text())
    assert told["series"] == 3
    assert told["rows"] == 180
    assert told["skill"] == pytest.approx(model.skill_, abs=1e-6)
    history = read_table(str(folder / "history.csv"))
    here = FusionForecaster(horizon=7, **ROLES, **SMALL).fit(history)
    future = read_table(str(folder / "future.csv"), "date")
    pd.testing.assert_frame_equal(here.forecast(future), model.forecast(future))


def test_forecast_writes_csv_parquet_and_json(folder, model):
    future = read_table(str(folder / "future.csv"))
    expected = model.forecast(future, quantiles=[0.25, 0.5])
    arguments = ("forecast", folder / "model.tsf", folder / "future.csv", "--quantiles", "0.25,0.5")
    shown = run(*arguments)
    (folder / "shown.csv").write_text(shown.stdout)
    same(read_table(str(folder / "shown.csv")), expected)
    for name in ("out.csv", "out.parquet"):
        assert run(*arguments, "-o", folder / name).stdout == ""
        same(read_table(str(folder / name)), expected)
    records = json.loads(run(*arguments, "--json").stdout)
    np.testing.assert_allclose([one["q0.25"] for one in records], expected["q0.25"], rtol=1e-6)
    with open(folder / "future.csv") as file:
        piped = run("forecast", folder / "model.tsf", "-", "--quantiles", "0.25,0.5", input=file)
    assert piped.stdout == shown.stdout


def test_history_comes_before_the_forecast_and_update_keeps_it(folder, model):
    import copy

    later, after = (read_table(str(folder / name)) for name in ("later.csv", "after.parquet"))
    expected = copy.copy(model).update(later).forecast(after)
    found = run(
        "forecast", folder / "model.tsf", folder / "after.parquet", "--history",
        folder / "later.csv", "-o", folder / "a.csv",
    )  # fmt: skip
    assert found.stdout == ""
    same(read_table(str(folder / "a.csv")), expected)
    told = run(
        "update", folder / "model.tsf", folder / "later.csv", "-o", folder / "updated.tsf"
    ).stdout
    assert "39 rows added" in told
    run("forecast", folder / "updated.tsf", folder / "after.parquet", "-o", folder / "b.csv")
    assert (folder / "a.csv").read_text() == (folder / "b.csv").read_text()


def test_calibrate_and_inspect(folder):
    run(
        "calibrate", folder / "model.tsf", folder / "later.csv", "--no-update",
        "-o", folder / "calibrated.tsf",
    )  # fmt: skip
    calibrated = FusionForecaster.load(folder / "calibrated.tsf")
    assert calibrated._calibration.method == "cqr"
    assert len(calibrated._memory) == 180
    before = os.environ.copy()
    told = json.loads(run("inspect", folder / "calibrated.tsf", "--json").stdout)
    assert told["calibration"] == "cqr"
    assert told["series"] == 3
    assert told["rows"] == 180
    assert told["last"].startswith("2024-02-29")
    assert told["columns"]["known"] == ["price", "event"]
    assert told["parameters"]["hidden_size"] == 8
    assert told["weights"] == calibrated.model_.count_params()
    plain = run("inspect", folder / "model.tsf").stdout
    assert "calibration       None" in plain
    assert before == {**os.environ, **{k: before[k] for k in before if k not in os.environ}}


def test_explain_writes_its_tables(folder):
    told = run("explain", folder / "model.tsf", "--table", "importance")
    assert "forecasts from" in told.stderr
    assert told.stdout.startswith("variable,")
    run("explain", folder / "model.tsf", "--table", "attention", "-o", folder / "at.parquet")
    assert {"lag", "weight"} <= set(read_table(str(folder / "at.parquet")))


@pytest.mark.parametrize("table", ["paths", "regimes", "trust"])
def test_explain_asks_for_what_its_table_needs(folder, table):
    told = run("explain", folder / "model.tsf", "--table", table, "--max-windows", 8)
    assert len(told.stdout.splitlines()) > 1


def test_backtest_scores_beside_baselines(folder, eager):
    result = run(
        "backtest", folder / "history.csv", *FLAGS, "--n-windows", 1, "--baseline", "last_value",
        "-o", folder / "backtest.csv", "--json",
    )  # fmt: skip
    scores = {one["model"]: one for one in json.loads(result.stdout)}
    assert set(scores) == {"FusionForecaster", "last_value"}
    table = read_table(str(folder / "backtest.csv"))
    mine = table[table["model"] == "last_value"]
    assert scores["last_value"]["mae"] == pytest.approx((mine["y"] - mine["mean"]).abs().mean())


def test_a_folder_of_files_is_fitted_as_python_does(folder, eager):
    small_panel(n_steps=60).to_parquet(folder / "history.parquet", index=False)
    run(
        "relayout", folder / "history.parquet", "--series", "store", "--time", "date",
        "--n-buckets", 2, "-o", folder / "buckets",
    )  # fmt: skip
    told = run("fit", folder / "buckets", *FLAGS, "--json", "-o", folder / "large.tsf")
    assert json.loads(told.stdout)["rows"] == 180
    mine = FusionForecaster(7, **ROLES, **{**SMALL, "max_epochs": 1}).fit(folder / "buckets")
    found = FusionForecaster.load(folder / "large.tsf").model_.get_weights()
    for one, other in zip(found, mine.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    (folder / "empty").mkdir()
    told = run("fit", folder / "empty", *FLAGS, "-o", folder / "m.tsf", code=1)
    assert told.stderr.startswith("Error: ")
    assert "empty" in told.stderr


def test_what_is_not_given_is_the_default():
    given = {"set_": {}, "series": None, "seed": 0, "quantiles": None, "max_epochs": None}
    made = _forecaster({**given, "horizon": 3}, quiet=True).get_params()
    default = FusionForecaster(3).get_params()
    changed = {name for name, value in made.items() if value != default[name]}
    assert changed == {"random_state", "verbose"}


def test_values_of_parameters_are_toml_or_python(tmp_path):
    values = {
        "a": [0, float("inf")], "b": {"method": "aci", "n": 5}, "c": True,
        "d": 'a "text" \U0001f600', "e": 1e-5, "f": [["x", 1.5], []], "g": {"a key": [False]},
        "h": datetime.date(2024, 5, 17),
    }  # fmt: skip
    lines = [
        "a = [0, inf]", "b = {method = 'aci', n = 5}", "c = true", "d = 'a \"text\" \U0001f600'",
        "e = 1e-5", "f = [['x', 1.5], []]", "g = {'a key' = [false]}", "h = 2024-05-17",
    ]  # fmt: skip
    (tmp_path / "options.toml").write_text("\n".join(["[set]", *lines]), encoding="utf-8")
    flags = [part for line in lines for part in ("--set", line.replace(" = ", "=", 1))]
    given = ["sales.csv", "--target", "y", "--horizon", "3", "-o", "model.tsf"]
    for options in (["--config", str(tmp_path / "options.toml")], flags):
        context = main.commands["fit"].make_context("fit", [*given, *options])
        assert context.params["set_"] == values
    told = ["a=(0, None)", "b=None", "c=adam", "d=D", "e={[]: 1}"]
    options = [part for text in told for part in ("--set", text)]
    context = main.commands["fit"].make_context("fit", [*given, *options])
    assert context.params["set_"] == {
        "a": (0, None), "b": None, "c": "adam", "d": "D", "e": "{[]: 1}"
    }  # fmt: skip


def test_a_file_of_options_is_as_good_as_flags(folder, eager):
    listed = {text.split("=")[0]: text.split("=")[1] for text in TINY}
    lines = [
        'target = "sales"', 'time = "date"', 'series = "store"', 'known = ["price", "event"]',
        'observed = "weather"', 'static = ["region", "size"]', "horizon = 7", "max-epochs = 2",
        "quantiles = [0.1, 0.9]", "[set]", *(f"{name} = {value}" for name, value in listed.items()),
    ]  # fmt: skip
    (folder / "options.toml").write_text("\n".join(lines))
    run(
        "fit", folder / "history.csv", "--config", folder / "options.toml", "--max-epochs", 1,
        "-o", folder / "again.tsf",
    )  # fmt: skip
    again = FusionForecaster.load(folder / "again.tsf")
    assert again.quantiles == [0.1, 0.9]
    assert again.max_epochs == 1
    weights = FusionForecaster.load(folder / "model.tsf").model_.get_weights()
    for one, other in zip(again.model_.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    (folder / "wrong.toml").write_text("targets = 'sales'")
    told = run("fit", folder / "history.csv", "--config", folder / "wrong.toml", code=2)
    assert "expected options of this command" in told.stderr
    assert "'targets'" in told.stderr


def test_every_command_with_options_takes_them_from_a_file(folder, tmp_path):
    for name, command in main.commands.items():
        has = any("--config" in option.opts for option in command.params)
        assert has == (name != "demo"), name
    (tmp_path / "options.toml").write_text("horizon = 2\nquantiles = [0.2, 0.5]\njson = true\n")
    asked = (
        "forecast",
        folder / "model.tsf",
        folder / "future.csv",
        "--config",
        tmp_path / "options.toml",
    )
    found = json.loads(run(*asked).stdout)
    assert {*found[0]} >= {"q0.2", "q0.5"}
    flags = ("--horizon", 2, "--quantiles", "0.2,0.5", "--json")
    assert found == json.loads(run(*asked[:3], *flags).stdout)
    assert len(found) == 2 * len(json.loads(run(*asked, "--horizon", 1).stdout))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "nowhere.csv", *FLAGS, "-o", "m.tsf"), "nowhere.csv: no such file."),
        (("fit", "history.csv", *FLAGS, "-o", "no/m.tsf"), "there is no folder"),
        (("fit", "bad.csv", *FLAGS, "-o", "m.tsf"), "expected times such as 2024-01-31 .* row 3"),
        (("fit", "empty.csv", *FLAGS, "-o", "m.tsf"), "expected a CSV file with a header"),
        (("fit", "history.csv", *FLAGS, "--target", "sold", "-o", "m.tsf"), "'sold'"),
        (("inspect", "history.csv"), "history.csv: expected a file that save wrote"),
        (("forecast", "model.tsf"), "Missing future values of the known columns"),
        (("forecast", "model.tsf", "later.csv", "--quantiles", "2"), "between 0 and 1"),
        (("fit", ".", *FLAGS, "-o", "m.tsf"), "Parquet files alone in '.'; .* tsfusion relayout"),
        (("backtest", ".", *FLAGS), "expected a CSV or Parquet file, received a folder"),
        (("fit", "semicolons.csv", *FLAGS, "-o", "m.tsf"), "separated by commas, .* has ';'"),
        (("fit", "book.xlsx", *FLAGS, "-o", "m.tsf"), "expected a .csv or .parquet file"),
        (("forecast", "nowhere.tsf", "-o", "x.xlsx"), "x.xlsx: expected a .csv or .parquet file"),
        (("forecast", "nowhere.tsf", "-o", "no/x.csv"), "no/x.csv: there is no folder"),
        (("backtest", "history.csv", *FLAGS, "--baseline", "naive"), "baseline: .*'naive'"),
    ],
    ids=[
        "no file",
        "no folder",
        "no times",
        "empty",
        "no column",
        "no model",
        "no future",
        "level",
        "folder of other files",
        "folder",
        "semicolons",
        "workbook",
        "no kind of output",
        "no folder of output",
        "no baseline",
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, arguments, message, monkeypatch):
    import re

    monkeypatch.chdir(folder)
    (folder / "bad.csv").write_text("store,date,sales\na,2024-01-01,1\na,soon,2\n")
    (folder / "empty.csv").write_text("")
    (folder / "semicolons.csv").write_text("store;date;sales\na;2024-01-01;1\n")
    (folder / "book.xlsx").write_text("")
    told = run(*arguments, code=1)
    assert told.stdout == ""
    assert re.search(message, told.stderr.replace("\n", " ")), told.stderr
    assert told.stderr.splitlines()[-1].startswith("Error: ") or len(told.stderr.splitlines()) < 3
    assert "Traceback" not in told.stderr
    again = CliRunner().invoke(main, ["--debug", *map(str, arguments)])
    assert not isinstance(again.exception, SystemExit)


def test_report_is_written_with_what_is_to_come(folder):
    pytest.importorskip("altair", reason="needs the extra report")
    path = folder / "report.html"
    model = folder / "model.tsf"
    run("report", model, folder / "future.csv", "--checks", "none", "--no-attribution",
        "--max-windows", 3, "--title", "Sales & more", "-o", path)  # fmt: skip
    text = path.read_text("utf-8")
    assert "<h1>Sales &amp; more</h1>" in text
    assert '"new":true' in text
    assert "context_length" in text
    told = run("report", model, "-o", folder / "no" / "report.html", code=1)
    assert "there is no folder" in told.stderr


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow writes graphs")
def test_export_writes_a_graph(folder):
    path = folder / "graph"
    run("export", folder / "model.tsf", "--format", "tf_saved_model", "-o", path)
    assert (path / "saved_model.pb").exists()
    told = run("export", folder / "model.tsf", "--format", "tf_saved_model", "-o", path, code=1)
    assert "is there already" in told.stderr


def test_flags_that_are_wrong(folder):
    told = run("fit", "x.csv", *FLAGS, "--set", "depth=3", "-o", "m", code=1)
    assert "no such file" in told.stderr
    data = folder / "history.csv"
    told = run("fit", data, *FLAGS, "--set", "depth=3", "-o", "m", code=2)
    assert "expected a parameter of FusionForecaster" in told.stderr
    told = run("fit", data, *FLAGS, "--set", "horizon=3", "-o", "m", code=2)
    assert "'horizon' has an option of its own" in told.stderr
    told = run("fit", data, *FLAGS, "--set", "depth", "-o", "m", code=2)
    assert "expected NAME=VALUE" in told.stderr
    told = run("forecast", folder / "model.tsf", "--quantiles", "low", code=2)
    assert "expected numbers such as" in told.stderr


def test_tables_keep_texts_that_are_no_times(tmp_path):
    path = tmp_path / "t.csv"
    frame = pd.DataFrame({"a": ["x", "y"], "b": ["2024-01-01", "2024-01-02"], "c": [1, 2]})
    write_table(frame, str(path))
    found = read_table(str(path))
    assert pd.api.types.is_datetime64_any_dtype(found["b"])
    assert list(found["a"]) == ["x", "y"]
    path.with_suffix(".parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="expected a Parquet file"):
        read_table(str(path.with_suffix(".parquet")))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_table(frame, str(tmp_path / "no" / "t.csv"))
    assert sorted(os.listdir(tmp_path)) == ["t.csv", "t.parquet"]


def test_help_imports_next_to_nothing():
    code = (
        "import sys; from tsfusion.cli import main\n"
        "try: main(['fit', '--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'numpy', 'pandas', 'keras', 'tensorflow', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_the_shell_completes_commands():
    asked = {"COMP_WORDS": "tsfusion re", "COMP_CWORD": "1", "_TSFUSION_COMPLETE": "bash_complete"}
    told = CliRunner().invoke(main, [], prog_name="tsfusion", env=asked)
    assert told.output.split() == ["plain,relayout", "plain,report"]


def test_dates_of_an_unknown_order_are_not_passed_over_in_silence(tmp_path):
    path = str(tmp_path / "days.csv")
    for first in ("31.01.2024", "1/31/24", "01-02-2024 08:00"):
        (tmp_path / "days.csv").write_text(f"day,sales\n{first},1\n{first},2\n")
        with pytest.warns(DataWarning, match=f"'day' is taken for categories, as '{first}' is no"):
            assert read_table(path)["day"].iloc[0] == first
    (tmp_path / "days.csv").write_text("day,code\n2024-01-31,1.2.3\n2024-02-01,1.2.4\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_table(path)["day"].dtype.kind == "M"
