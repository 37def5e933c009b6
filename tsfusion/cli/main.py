"""The commands. Only click is imported here, so that ``--help`` is quick."""

from __future__ import annotations

import os
import sys
import time as clock
import warnings
from collections.abc import Callable
from typing import Any

import click

__all__ = ["main"]

# What a user can mend; anything else is a defect, and shows its traceback.
_TOLD = (ArithmeticError, ImportError, LookupError, MemoryError, OSError, TypeError, ValueError)


class _Commands(click.Group):
    """A group whose commands end in one line on standard error where something is wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            try:
                return super().invoke(ctx)
            except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
                raise
            except _TOLD as error:
                if ctx.params.get("debug"):
                    raise
                raise click.ClickException(_text(error)) from error


def _text(error: BaseException) -> str:
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text or type(error).__name__


def _show_warning(message: Any, category: type, *_: Any) -> None:
    from tsfusion.exceptions import TsfusionWarning

    if issubclass(category, TsfusionWarning):
        click.echo(f"Warning: {message}", err=True)


def _names(_: Any, __: Any, given: tuple[str, ...]) -> list[str] | None:
    """Return names given once each, or several with commas; None where none was given."""
    found = [name.strip() for text in given for name in str(text).split(",")]
    return [name for name in found if name] or None


def _levels(_: Any, __: Any, given: Any) -> list[float] | None:
    if given is None:
        return None
    try:
        # A list of a TOML file comes as its text.
        listed = str(given).strip("[]").split(",")
        return [float(level) for level in listed]
    except ValueError as error:
        raise click.BadParameter(
            f"expected numbers such as 0.1,0.5,0.9, received {given!r}."
        ) from (error)


def _config(ctx: click.Context, parameter: click.Parameter, path: str | None) -> None:
    """Take the options of a TOML file as defaults of this command's."""
    if path is None:
        return
    import tomllib

    try:
        with open(path, "rb") as file:
            given = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"{path}: {error}") from error
    options = {
        flag[2:]: option
        for option in ctx.command.params
        if isinstance(option, click.Option)
        for flag in option.opts
        if flag.startswith("--") and option is not parameter
    }
    found = {}
    for name, value in given.items():
        option = options.get(name.replace("_", "-"))
        if option is None:
            raise click.BadParameter(
                f"{path}: expected options of this command ({', '.join(sorted(options))}), "
                f"received {name!r}."
            )
        if isinstance(value, dict):
            value = list(value.items())
        found[str(option.name)] = [value] if option.multiple and type(value) is not list else value
    ctx.default_map = {**(ctx.default_map or {}), **found}


def _further(_: Any, __: Any, given: tuple[Any, ...]) -> dict[str, Any]:
    """Return parameters by name: of NAME=VALUE texts, or pairs that --config has read."""
    found = {}
    for one in given:
        name, equals, text = one.partition("=") if isinstance(one, str) else (one[0], "=", None)
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"expected NAME=VALUE, received {one!r}.")
        found[name] = one[1] if text is None else _value(text)
    return found


def _value(text: str) -> Any:
    """Return what a text stands for: in TOML, else as a literal of Python, else itself."""
    import ast
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return text


_CONFIG = click.option(
    "--config", type=click.Path(dir_okay=False), is_eager=True, expose_value=False,
    callback=_config, help="A TOML file with options by their long names; flags win.",
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="No progress on standard error.")
_OUT = click.option(
    "-o", "--output", help="Where to: a .csv or .parquet file; standard output if not given."
)
_MODEL_OUT = click.option("-o", "--output", required=True, help="The model file to write.")
_QUANTILES = click.option(
    "--quantiles", callback=_levels, help="Levels, such as 0.05,0.5,0.95.", metavar="LEVELS"
)

_MODEL_OPTIONS = (
    click.option("--target", required=True, help="The column to forecast."),
    click.option("--time", help="The column of times; found if only one holds dates."),
    click.option(
        "--series", multiple=True, callback=_names, help="Column(s) that tell series apart."
    ),
    click.option(
        "--known",
        multiple=True,
        callback=_names,
        help="Columns known in the future; all others if not given.",
    ),
    click.option(
        "--observed", multiple=True, callback=_names, help="Columns known up to the present."
    ),
    click.option(
        "--static", multiple=True, callback=_names, help="Columns with one value per series."
    ),
    click.option("--horizon", type=click.IntRange(1), required=True, help="Steps ahead."),
    click.option("--freq", help="The step of time (D, h, MS, ...); found if not given."),
    click.option("--context-length", type=click.IntRange(1), help="Past steps seen."),
    click.option(
        "--max-epochs", type=click.IntRange(1), help="The most epochs; FusionForecaster's default."
    ),
    click.option(
        "--calibration",
        type=click.Choice(["cqr", "aci", "tracking"]),
        help="Calibrate on the validation tail.",
    ),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Seed of all that is random."
    ),
    click.option(
        "--set",
        "set_",
        multiple=True,
        # Of --config come pairs.
        type=click.UNPROCESSED,
        callback=_further,
        metavar="NAME=VALUE",
        help="Any other parameter of FusionForecaster.",
    ),
    _QUANTILES,
    _CONFIG,
    _QUIET,
    _JSON,
)


def _with_model_options(command: Callable) -> Callable:
    for option in reversed(_MODEL_OPTIONS):
        command = option(command)
    return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Completion for bash: eval \"$(_TSFUSION_COMPLETE=bash_source tsfusion)\"",
)  # fmt: skip
@click.version_option(package_name="tsfusion")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Forecast many series, and say why.

    Tables are CSV or Parquet files, - is CSV on standard input. What is asked for goes to standard
    output, progress and warnings to standard error.
    """


@main.command()
@_QUIET
def demo(quiet: bool) -> None:
    """Fit, forecast and explain a series that comes with the package.

    Example: tsfusion demo
    """
    from tsfusion import FusionForecaster
    from tsfusion.data import load_air_passengers

    table = load_air_passengers()
    click.echo(f"{len(table)} months of airline passengers, {table['passengers'].max()} at most.")
    model = FusionForecaster(
        horizon=12, time="month", target="passengers", random_state=0, verbose=int(not quiet)
    ).fit(table[:-12])
    forecast = model.forecast()
    forecast["actual"] = table["passengers"].to_numpy()[-12:]
    click.echo(forecast.round(1).to_string(index=False))
    click.echo(f"Skill over the best naive forecast, on the validation tail: {model.skill_:.0%}.")
    click.echo(model.explain().summary())


@main.command()
@click.argument("data")
@_with_model_options
@_MODEL_OUT
def fit(data: str, output: str, quiet: bool, as_json: bool, **options: Any) -> None:
    """Learn from DATA, and write the model to a file.

    A folder of Parquet files, such as relayout makes, may be larger than memory.

    Example: tsfusion fit sales.csv --target sales --series store --horizon 28 -o model.tsf
    """
    from tsfusion.cli.tables import count_rows, read_table, write_json
    from tsfusion.files.archive import check_target

    named = options["series"] or ()
    table = data if os.path.isdir(data) else read_table(data, options["time"], labels=named)
    model = _forecaster(options, quiet)
    check_target(output)
    began = clock.monotonic()
    model.fit(table)
    seconds = clock.monotonic() - began
    model.save(output)
    told = {
        "model": output,
        "rows": count_rows(table),
        "series": len(model.series_),
        "context_length": model.context_length_,
        "freq": str(model.freq_),
        "epochs": len(model.history_["loss"]),
        "validation_losses": model.validation_losses_,
        "skill": _number(model.skill_),
        "seconds": round(seconds, 1),
    }
    if as_json:
        write_json(told)
        return
    skill = "" if told["skill"] is None else f", skill {told['skill']:.0%} over naive forecasts"
    click.echo(
        f"{output}: {told['series']} series of {told['rows']} rows, {told['epochs']} epochs in "
        f"{told['seconds']} s{skill}."
    )


@main.command()
@click.argument("model")
@click.argument("future", required=False)
@click.option("--history", help="New rows that come before the forecast (not written to MODEL).")
@click.option("--horizon", type=click.IntRange(1), help="Steps ahead; the model's if not given.")
@_QUANTILES
@_OUT
@_JSON
@_CONFIG
def forecast(
    model: str, future: str | None, history: str | None, horizon: int | None,
    quantiles: list[float] | None, output: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Forecast with a model file; FUTURE holds the known columns of the rows to forecast.

    Example: tsfusion forecast model.tsf future.csv -o forecast.csv
    """
    from tsfusion.cli.tables import check_output, write_table

    check_output(output, as_json=as_json)
    fitted = _load(model)
    if history is not None:
        fitted.update(_rows(fitted, history))
    given = None if future is None else _rows(fitted, future)
    table = fitted.forecast(given, horizon=horizon, quantiles=quantiles)
    write_table(table, output, as_json=as_json)


# What each table of an explanation has to be asked for by.
_TABLES = {
    "importance": "selection", "attention": "attention", "selection": "selection",
    "temporal_patterns": "attention", "attribution": "attribution", "paths": "paths",
    "regimes": "regimes", "memory": "memory", "prototypes": "memory", "trust": None,
}  # fmt: skip


@main.command()
@click.argument("model")
@click.argument("data", required=False)
@click.option(
    "--table",
    type=click.Choice([*_TABLES]),
    default="importance",
    show_default=True,
    help="What to write; attribution takes the longest.",
)
@click.option("--checks", type=click.Choice(["fast", "full"]), help="How far it can be trusted.")
@click.option("--max-windows", type=click.IntRange(1), default=64, show_default=True)
@_OUT
@_JSON
@_CONFIG
def explain(
    model: str, data: str | None, table: str, checks: str | None, max_windows: int,
    output: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Say what forecasts looked at: of the rows in DATA, else over the known history.

    The sentences go to standard error, the table to standard output or a file.

    Example: tsfusion explain model.tsf --table attribution --checks fast -o attribution.csv
    """
    from tsfusion.cli.tables import check_output, write_table

    check_output(output, as_json=as_json)
    fitted = _load(model)
    rows = None if data is None else _rows(fitted, data)
    methods = {"attention", "selection", _TABLES[table]} - {None}
    if table == "trust" and checks is None:
        checks = "fast"
    explanation = fitted.explain(
        rows, methods=sorted(str(name) for name in methods), checks=checks, max_windows=max_windows
    )
    click.echo(explanation.summary(), err=True)
    found = getattr(explanation, table)
    found = found() if callable(found) else found
    write_table(found, output, as_json=as_json)


@main.command()
@click.argument("model")
@click.argument("future", required=False)
@click.option("--backtest", help="A table that the command backtest wrote with -o.")
@click.option("--title", help="The heading; names the target if not given.")
@click.option(
    "--checks",
    type=click.Choice(["fast", "full", "none"]),
    default="fast",
    show_default=True,
    help="How far the explanation can be trusted.",
)
@click.option(
    "--attribution/--no-attribution",
    default=True,
    show_default=True,
    help="What moved each forecast; takes the longest.",
)
@click.option("--max-windows", type=click.IntRange(1), default=64, show_default=True)
@click.option("--max-series", type=click.IntRange(1), default=50, show_default=True)
@click.option("-o", "--output", required=True, help="The HTML file to write.")
@_CONFIG
def report(
    model: str, future: str | None, backtest: str | None, title: str | None, checks: str,
    attribution: bool, max_windows: int, max_series: int, output: str,
) -> None:  # fmt: skip
    """Explain a model file as one HTML page that needs no network.

    Windows of the known history are explained, and the forecast to come: FUTURE holds the known
    columns of its rows, and is not needed by a model without any.

    Example: tsfusion report model.tsf future.csv --backtest backtest.csv -o report.html
    """
    from tsfusion.cli.tables import read_table
    from tsfusion.files.archive import check_target

    check_target(output)
    fitted = _load(model)
    encoder = fitted._fitted.encoder
    scores = None if backtest is None else read_table(backtest)
    rows = None if future is None else _rows(fitted, future)
    if rows is None and not encoder.roles.known:
        rows = fitted.make_future_dataframe()
    asked = _methods(fitted, attribution)
    explanation = fitted.explain(
        methods=asked, checks=None if checks == "none" else checks, max_windows=max_windows
    )
    ahead = None
    if rows is not None:
        ahead = fitted.explain(rows, methods=asked, max_windows=max_series)
    explanation.to_html(
        output, title=title, model=fitted, ahead=ahead, backtest=scores, max_series=max_series
    )
    click.echo(f"{output}: written.")


def _methods(fitted: Any, attribution: bool) -> list[str]:
    """Return what can be explained of a forecaster."""
    methods = ["attention", "selection", "regimes"]
    if attribution:
        methods.append("attribution")
    if getattr(fitted.model_.network, "knockouts", ()):
        methods.append("paths")
    if fitted.memory_size and fitted.architecture == "fusion":
        methods.append("memory")
    return methods


@main.command()
@click.argument("model")
@click.option(
    "--format", type=click.Choice(["onnx", "tf_saved_model"]), default="onnx", show_default=True
)
@click.option("--overwrite", is_flag=True, help="Replace an export that is there.")
@click.option("-o", "--output", required=True, help="The ONNX file, or the folder, to write.")
@_CONFIG
def export(model: str, format: str, overwrite: bool, output: str) -> None:
    """Write a model file as a graph for serving, which needs nothing of this package.

    Example: tsfusion export model.tsf --format onnx -o model.onnx
    """
    try:
        _load(model).export(output, format=format, overwrite=overwrite)
    except RuntimeError as error:
        if "KERAS_BACKEND" not in str(error):
            raise
        raise click.ClickException(str(error)) from error
    click.echo(f"{output}: written.")


@main.command()
@click.argument("data")
@_with_model_options
@click.option("--n-windows", type=click.IntRange(1), default=3, show_default=True, help="Cutoffs.")
@click.option(
    "--step", type=click.IntRange(1), help="Steps between cutoffs; the horizon if not given."
)
@click.option(
    "--refit/--no-refit",
    default=True,
    show_default=True,
    help="Fit at every cutoff, or at the first alone.",
)
@click.option(
    "--baseline",
    multiple=True,
    default=["last_value", "seasonal_naive"],
    show_default=True,
    help="Forecasts to compare with, by name.",
)
@_OUT
def backtest(
    data: str, n_windows: int, step: int | None, refit: bool, baseline: tuple[str, ...],
    output: str | None, quiet: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Forecast from past cutoffs of DATA, and score it beside naive forecasts.

    The scores are printed; with -o, the forecasts are written.

    Example: tsfusion backtest sales.csv --target sales --series store --horizon 28
    """
    from tsfusion.cli.tables import check_output, read_table, write_table
    from tsfusion.evaluation import evaluate

    check_output(output)
    table = read_table(data, options["time"], labels=options["series"] or ())
    model = _forecaster(options, quiet)
    found = model.backtest(
        table, models=list(baseline) or None, n_windows=n_windows, step=step, refit=refit,
        verbose=int(not quiet),
    )  # fmt: skip
    if output is not None:
        write_table(found, output)
    scores = evaluate(found, train=table)
    if as_json:
        write_table(scores, None, as_json=True)
    else:
        click.echo(scores.round(4).to_string(index=False))


@main.command()
@click.argument("model")
@click.argument("data")
@click.option(
    "--method", type=click.Choice(["cqr", "aci", "tracking"]), default="cqr", show_default=True
)
@click.option(
    "--coverage",
    type=click.Choice(["step", "path"]),
    default="step",
    show_default=True,
    help="What an interval is to hold: each step, or whole paths.",
)
@click.option(
    "--update/--no-update",
    default=True,
    show_default=True,
    help="Add DATA to the known history as well.",
)
@_MODEL_OUT
@_CONFIG
def calibrate(
    model: str, data: str, method: str, coverage: str, update: bool, output: str
) -> None:  # fmt: skip
    """Make quantiles cover what they say, by the errors on DATA (rows that follow those of fit).

    Example: tsfusion calibrate model.tsf later.csv -o calibrated.tsf
    """
    from tsfusion.files.archive import check_target

    fitted = _load(model)
    rows = _rows(fitted, data)
    check_target(output)
    fitted.calibrate(rows, method=method, coverage=coverage)
    if update:
        fitted.update(rows)
    fitted.save(output)
    click.echo(f"{output}: calibrated on {len(rows)} rows.")


@main.command()
@click.argument("model")
@click.argument("data")
@_MODEL_OUT
@_CONFIG
def update(model: str, data: str, output: str) -> None:
    """Add the rows of DATA to the history that a model file knows; nothing is trained.

    Example: tsfusion update model.tsf this_week.csv -o model.tsf
    """
    from tsfusion.files.archive import check_target

    fitted = _load(model)
    rows = _rows(fitted, data)
    check_target(output)
    fitted.update(rows)
    fitted.save(output)
    click.echo(f"{output}: {len(rows)} rows added.")


@main.command()
@click.argument("file")
@_JSON
@_CONFIG
def inspect(file: str, as_json: bool) -> None:
    """Say what a model file holds, without making the network.

    Example: tsfusion inspect model.tsf
    """
    from tsfusion.cli.tables import write_json
    from tsfusion.files import describe

    told = describe(file)
    if as_json:
        write_json(told)
        return
    for name, value in told.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key}={one!r}" for key, one in value.items())
        click.echo(f"{name.replace('_', ' '):<18}{value}")


@main.command()
@click.argument("source", nargs=-1, required=True)
@click.option(
    "--series",
    multiple=True,
    callback=_names,
    required=True,
    help="Column(s) that tell series apart.",
)
@click.option("--time", required=True, help="The column of times.")
@click.option(
    "--n-buckets", type=click.IntRange(1), help="Files to write; by the memory if not given."
)
@click.option("--rows-per-bucket", type=click.IntRange(1), help="In place of --n-buckets, about.")
@click.option("--max-memory", default="1GB", show_default=True, help="Bytes, or such as 512MB.")
@click.option("--overwrite", is_flag=True, help="Replace a folder of buckets that is there.")
@click.option("-o", "--output", required=True, help="The folder to write.")
@_JSON
@_CONFIG
def relayout(
    source: tuple[str, ...], series: list[str], time: str, n_buckets: int | None,
    rows_per_bucket: int | None, max_memory: str, overwrite: bool, output: str, as_json: bool,
) -> None:  # fmt: skip
    """Lay out Parquet or CSV files (or a folder of them) in buckets of whole series, for fit.

    Example: tsfusion relayout by_day/ --series store --time date -o buckets
    """
    from tsfusion.cli.tables import write_json
    from tsfusion.scale import relayout as lay_out

    given = source[0] if len(source) == 1 else list(source)
    manifest = lay_out(
        given, output, series=series, time=time, n_buckets=n_buckets,
        rows_per_bucket=rows_per_bucket, max_memory=max_memory, overwrite=overwrite,
    )  # fmt: skip
    if as_json:
        write_json(manifest)
        return
    click.echo(f"{output}: {manifest['rows']} rows in {len(manifest['files'])} files.")


def _forecaster(options: dict[str, Any], quiet: bool) -> Any:
    """Return an unfitted forecaster with the parameters of the command line."""
    from tsfusion import FusionForecaster

    # What was not given keeps the estimator's default.
    given = {name: value for name, value in options.items() if value is not None}
    further, seed = given.pop("set_"), given.pop("seed")
    known = FusionForecaster._get_param_names()
    wrong = [name for name in further if name not in known]
    if wrong:
        raise click.BadParameter(
            f"expected a parameter of FusionForecaster ({', '.join(known)}), received "
            f"{wrong[0]!r}.",
            param_hint="--set",
        )
    twice = [name for name in further if name in given]
    if twice:
        raise click.BadParameter(f"{twice[0]!r} has an option of its own.", param_hint="--set")
    if len(given.get("series", ())) == 1:
        (given["series"],) = given["series"]
    return FusionForecaster(**{**given, "random_state": seed, "verbose": int(not quiet), **further})


def _load(path: str) -> Any:
    from tsfusion import FusionForecaster

    return FusionForecaster.load(path)


def _rows(fitted: Any, path: str) -> Any:
    """Read rows for a fitted forecaster, with times and texts where it has learned such."""
    from tsfusion.cli.tables import read_table

    encoder = fitted._fitted.encoder
    time = encoder.roles.time if encoder.timeline.is_datetime else None
    labels = [one if isinstance(one, tuple) else (one,) for one in fitted._memory.labels]
    names = [
        name
        for name, parts in zip(encoder.roles.series, zip(*labels))
        if all(isinstance(part, str) for part in parts)
    ]
    words = [
        name
        for name, values in encoder.vocabularies.items()
        if len(values) and all(isinstance(value, str) for value in values)
    ]
    return read_table(path, time if isinstance(time, str) else None, names=names, words=words)


def _number(value: float) -> float | None:
    return None if value != value else round(value, 6)


if __name__ == "__main__":
    sys.exit(main())
