"""The HTML of a report: what is fixed is written here, what can be chosen is drawn by ``page.js``.

Every text that comes from data is escaped. The scripts are inlined, and so is the policy that
admits them alone: the page asks nothing of a network.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.explain.explanation import Explanation
from tsfusion.files.archive import check_target, replacing
from tsfusion.report import evidence
from tsfusion.report.charts import specifications
from tsfusion.report.payload import Windows, records

__all__ = ["write_report"]

_MOST_BANDS = 3
_CONTROLS = (
    '<form class="controls" aria-label="What is shown">'
    '<label id="series-label">Series <select id="series"></select></label>'
    '<label>Forecast made after <select id="window"></select></label>'
    '<label>Step ahead <span class="step"><input type="range" id="step" min="1" step="1">'
    '<output id="step-text" for="step"></output></span></label></form>\n'
)


def write_report(
    path: str | os.PathLike, explanation: Explanation, *, title: str | None = None,
    model: Any = None, ahead: Explanation | None = None, backtest: pd.DataFrame | None = None,
    baseline: str | None = None, max_series: int = 50,
) -> None:  # fmt: skip
    """Write an explanation as one HTML file; see `Explanation.to_html`."""
    path = Path(path)
    parts = _checked(explanation, ahead, max_series)
    check_target(path)
    # Two seconds of another core, at the first report of a process.
    with ThreadPoolExecutor(1) as pool:
        scripts = pool.submit(_scripts)
        title, body, data = _contents(parts, title, model, backtest, baseline, max_series)
        page = _page(title, body, data, scripts.result())
    with replacing(path) as file:
        file.write(page.encode("utf-8", "replace"))


def _contents(
    parts: list[Explanation], title: str | None, model: Any, backtest: pd.DataFrame | None,
    baseline: str | None, max_series: int,
) -> tuple[str, str, dict[str, Any]]:  # fmt: skip
    """Return the title, the body and the data of the page."""
    explanation = parts[0]
    scores = None if backtest is None else evidence.Scores.of(backtest, baseline)
    bands = evidence.bands(explanation.levels)[:_MOST_BANDS]
    median = int(np.abs(np.asarray(explanation.levels) - 0.5).argmin())
    drawn = sorted({median, *(i for band in bands for i in band[2:])})
    windows = Windows.of(parts, max_series, drawn)
    named = "the target" if explanation.target is None else str(explanation.target)
    title = f"Forecast of {named}, explained" if title is None else str(title)
    data = {
        **windows.values,
        "kind": windows.kind,
        "target": named,
        "bands": [(*band[:2], *map(drawn.index, band[2:])) for band in bands],
        "median": drawn.index(median),
        "memory": None
        if explanation.memory_use is None
        else [float(f"{value:.6g}") for value in explanation.memory_use.usual],
        "fixed": {
            "importance": _importance(explanation),
            "paths": [] if explanation.path_table is None else records(explanation.paths),
            **({} if scores is None else scores.rows),
        },
        "charts": specifications(windows.kind, len(bands)),
    }
    return title, _body(title, explanation, parts, windows, scores, model), data


def _checked(
    explanation: Explanation, ahead: Explanation | None, max_series: Any
) -> list[Explanation]:
    """Return the explanations, or raise where they do not go together or cannot be drawn."""
    if any(find_spec(name) is None for name in ("altair", "vl_convert")):
        raise ImportError("A report needs Altair and vl-convert: pip install 'tsfusion[report]'.")
    if type(max_series) is not int or max_series < 1:
        raise ValueError(f"max_series: expected an integer >= 1, received {max_series!r}.")
    if ahead is None:
        return [explanation]
    if not isinstance(ahead, Explanation):
        raise TypeError(f"ahead: expected an Explanation, received {type(ahead).__name__}.")
    ours, theirs = (
        (
            part.context_length,
            [branch.name for branch in part.branches],
            list(part.roles),
            part.calibrated is None,
        )
        for part in (explanation, ahead)
    )
    if ours != theirs:
        raise ValueError(
            "ahead: expected an explanation by the same model, received one of another context, "
            "other branches of attention or other variables, or one of the two by a calibrated "
            "model. Make both with the same one."
        )
    return [explanation, ahead]


@cache
def _scripts() -> tuple[str, str]:
    """Return Vega, Vega-Lite and Vega-Embed as one script, and the page's own."""
    import altair as alt

    # Its type hints ask for an argument that may be left out.
    vl_convert: Any = importlib.import_module("vl_convert")
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    bundle = vl_convert.javascript_bundle(vl_version=version).replace("</script", "<\\/script")
    own = (files("tsfusion.report") / "page.js").read_text("utf-8")
    return bundle, own


def _page(title: str, body: str, data: dict[str, Any], scripts: tuple[str, str]) -> str:
    style = (files("tsfusion.report") / "page.css").read_text("utf-8")
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n"
        f'<script type="application/json" id="data">{_json(data)}</script>\n'
        + "".join(f"<script>{text}</script>\n" for text in scripts)
        + "</body>\n</html>\n"
    )


def _json(data: Any) -> str:
    """Return JSON that no HTML parser can take for a tag or a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _importance(explanation: Explanation) -> list[dict[str, Any]]:
    table = explanation.importance().dropna(axis=1, how="all")
    table["variable"] = table["variable"].map(str)
    return records(table.drop(columns="role").assign(role=table["role"]))


def _body(
    title: str, explanation: Explanation, parts: list[Explanation], windows: Windows,
    scores: evidence.Scores | None, model: Any,
) -> str:  # fmt: skip
    sections = [
        _trust(explanation, scores, model),
        _forecast(explanation),
        _importance_section(explanation),
        _over(explanation),
        _paths(explanation),
        _regimes(parts),
        _memory(explanation),
        *_calibration(scores),
        _given(explanation, parts, windows, model),
    ]
    links = "".join(f'<li><a href="#{name}">{escape(head)}</a></li>' for name, head, _ in sections)
    texts = "".join(
        f'<section id="{name}" aria-labelledby="{name}-head">'
        f'<h2 id="{name}-head">{escape(head)}</h2>{text}</section>\n'
        for name, head, text in sections
    )
    return (
        f'<header class="top"><h1>{escape(title)}</h1>'
        '<button type="button" id="theme" aria-pressed="false">Dark theme</button></header>\n'
        f'<nav aria-label="Sections"><ol>{links}</ol></nav>\n'
        f"{_CONTROLS}<main>\n<noscript><p>The charts and tables are drawn by a script of the page, "
        f"which is switched off here.</p></noscript>\n{texts}</main>"
    )


def _figure(name: str, label: str, caption: str, *, key: str = "") -> str:
    """Return the place of a chart, with its caption (HTML) and the table behind it."""
    label = escape(label)
    return (
        f"<figure><figcaption>{caption}</figcaption>{key}"
        f'<div class="chart" id="chart-{name}" role="img" aria-label="{label}"></div>'
        f'<details class="table" id="table-{name}"><summary>Data: {label}</summary>'
        f'<div class="scroll" role="region" tabindex="0" aria-label="Table: {label}"></div>'
        "</details></figure>"
    )


def _lacking(text: str) -> str:
    return f'<p class="lacking">{text}</p>'


def _ask(parameter: str, value: str) -> str:
    return _lacking(f"Not computed. Ask for it: <code>explain({parameter}={value})</code>.")


def _trust(
    explanation: Explanation, scores: evidence.Scores | None, model: Any
) -> tuple[str, str, str]:
    return "trust", "Trust and skill", _checks(explanation) + _skill(scores, model)


def _checks(explanation: Explanation) -> str:
    if explanation.trust_table is None:
        return "<h3>Checks of the explanation</h3>" + _ask("checks", "&quot;fast&quot;")
    table = explanation.trust
    passed = int(table["passed"].sum())
    items = "".join(
        f'<li class="{"passed" if row.passed else "failed"}"><strong>'
        f"{'Passed' if row.passed else 'Not passed'}: {escape(str(row.check))}</strong> "
        f"{escape(str(row.verdict))} <span class=\"figure\">{escape(_measured(row))}</span></li>"
        for row in table.itertuples()
    )  # fmt: skip
    return (
        f"<h3>Checks of the explanation: {passed} of {len(table)} passed</h3>"
        f'<ul class="checks">{items}</ul>'
    )


def _measured(row: Any) -> str:
    if row.value != row.value:
        return "not measured"
    span = "" if row.low != row.low else f" (95%: {row.low:.3g} to {row.high:.3g})"
    return f"{row.value:.3g}{span}, threshold {row.threshold:.3g}"


def _skill(scores: evidence.Scores | None, model: Any) -> str:
    found = "<h3>Skill</h3>"
    own = getattr(model, "skill_", float("nan"))
    if own == own:
        better = "less" if own >= 0 else "more"
        found += (
            f"<p>On the validation tail the model loses <strong>{abs(own):.0%} {better}</strong> "
            "than the best of the naive forecasts (quantile loss).</p>"
        )
    if scores is None or "skill" not in scores.rows:
        why = "a backtest of two models or more" if scores is None else escape(scores.no_skill)
        return found + _lacking(
            f"Skill beside other forecasts: needs {why}. Pass <code>backtest=</code> "
            "(<code>model.backtest(X, models=&quot;seasonal_naive&quot;)</code>)."
        )
    return found + _figure(
        "skill",
        f"skill of each model against {scores.baseline}",
        f"Mean absolute error in the backtest, against {escape(scores.baseline)} (0: as good). "
        "Bars: 95% intervals, if there are several series or cutoffs.",
    )


def _forecast(explanation: Explanation) -> tuple[str, str, str]:
    bands = evidence.bands(explanation.levels)[:_MOST_BANDS]
    names = [f"{100 * (high - low):.3g}% interval" for low, high, *_ in bands]
    items = [("past", "known"), ("median", "median"), ("actual", "known since")]
    items += [(f"band{i}", name) for i, name in enumerate(names)] + [("chosen", "step chosen")]
    key = "".join(f'<li><span class="k-{mark}"></span>{name}</li>' for mark, name in items)
    text = _figure(
        "fan",
        "forecast with its intervals",
        "Choose a step by clicking on it, or with the slider above. "
        + (
            "Quantiles are those of the network: it has not been calibrated."
            if explanation.calibrated is None
            else "Quantiles are calibrated; all else is about the network, before that."
        ),
        key=f'<ul class="key">{key}</ul>',
    )
    text += '<p id="said" aria-live="polite"></p>'
    for branch in explanation.branches:
        width = int((branch.last - branch.first).max()) + 1
        where = "" if branch.name == "all" else f" ({branch.name} window)"
        cells = "single steps" if width == 1 else f"patches of up to {width} steps"
        text += (
            f"<h3>Attention{where}</h3>"
            + _figure(
                f"when-{branch.name}",
                f"attention{where} of the step chosen, by time",
                f"Where the step chosen looked: {cells}. The time axis is that of the forecast "
                "above; shares of one step sum to 100%, heads are averaged.",
            )
            + _figure(
                f"heat-{branch.name}",
                f"attention{where} by step ahead and lag",
                "Steps ahead (upwards) by lag; the step chosen is framed. Click on a row to choose "
                "it.",
            )
        )
    return "forecast", "Forecast and attention", text


def _importance_section(explanation: Explanation) -> tuple[str, str, str]:
    text = _figure(
        "importance",
        "importance of each variable, by measure",
        "Attribution and sensitivity say what moves the forecast. Selection weights (past, future, "
        "static) say where the network lets information pass, which is no measure of importance "
        "alone. Each measure sums to 100%.",
    )
    if explanation.attributed is None:
        text += _ask("methods", "(..., &quot;attribution&quot;)")
    if not explanation.sensitivity_shares:
        text += _lacking("Sensitivity: needs windows of the known history.")
    return "importance", "Importance of variables", text


def _over(explanation: Explanation) -> tuple[str, str, str]:
    measure = "attribution" if explanation.attributed is not None else "selection weight (past)"
    text = _figure(
        "over",
        "share of each variable by cutoff",
        f"Share of {measure} by the time that the forecast was made, for the series chosen. "
        "The variables with the largest shares are drawn, all are in the table.",
    )
    return "over", "Importance over time", text


def _paths(explanation: Explanation) -> tuple[str, str, str]:
    if explanation.path_table is None:
        return "paths", "Paths of the network", _ask("methods", "(..., &quot;paths&quot;)")
    text = _figure(
        "paths",
        "share of each path",
        "How far the forecast changes without a path, as a share of all such changes. Paths can "
        "stand in for each other.",
    )
    return "paths", "Paths of the network", text


def _regimes(parts: list[Explanation]) -> tuple[str, str, str]:
    tables = [part.regime_table for part in parts if part.regime_table is not None]
    if parts[0].regime_table is None:
        return "regimes", "Regimes", _ask("methods", "(..., &quot;regimes&quot;)")
    unusual, size = sum(int(one["unusual"].sum()) for one in tables), sum(map(len, tables))
    text = _figure(
        "regimes",
        "series, with windows of usual and unusual attention",
        f"In {unusual} of {size} windows of all series the attention is farther from the mean of "
        "training than that of 99% of the training windows. Below the series, a mark at each "
        "cutoff.",
    )
    return "regimes", "Regimes", text


def _memory(explanation: Explanation) -> tuple[str, str, str]:
    if explanation.memory_use is None:
        text = _lacking(
            "Not computed. It needs a network with a memory (<code>memory_size=</code>) and "
            "<code>explain(methods=(..., &quot;memory&quot;))</code>."
        )
        return "memory", "Memory", text
    text = _figure(
        "memory",
        "memory slots read by the window",
        "Share of what the window reads that comes from each slot; ticks: the mean of training "
        "windows.",
    )
    text += (
        "<h3>Training windows that read alike</h3>"
        '<div class="scroll" id="nearest" role="region" tabindex="0" '
        'aria-label="Table: nearest training windows"></div>'
    )
    return "memory", "Memory", text


def _calibration(scores: evidence.Scores | None) -> Iterable[tuple[str, str, str]]:
    heads = (
        ("reliability", "Reliability"),
        ("horizon", "Error and coverage by horizon"),
    )
    if scores is None:
        lacking = _lacking(
            "Needs a backtest: <code>to_html(path, backtest=model.backtest(X))</code>, or "
            "<code>tsfusion report --backtest FILE</code>."
        )
        return [(name, head, lacking) for name, head in heads]
    quantiles = _lacking(escape(scores.no_quantiles)) if scores.no_quantiles else ""
    reliability = quantiles or (
        _figure(
            "reliability",
            "share of truths below each quantile",
            "How often the truth came out below each quantile; on the dotted line where quantiles "
            "are right. Bars: two standard errors.",
        )
        + _figure(
            "pit",
            f"density of truths between the quantiles of {scores.first}",
            f"PIT of {escape(scores.first)}: 1 where its quantiles are right, high at both ends "
            "where they are too narrow.",
        )
    )
    horizon = _figure("error", "mean absolute error by step ahead", "Mean absolute error.")
    horizon += quantiles or _figure(
        "coverage",
        f"coverage of the {scores.interval} interval by step ahead",
        f"Share of truths within the {scores.interval} interval; dotted: its aim.",
    )
    return [(name, head, text) for (name, head), text in zip(heads, (reliability, horizon))]


def _given(
    explanation: Explanation, parts: list[Explanation], windows: Windows, model: Any
) -> tuple[str, str, str]:
    import tsfusion

    times = [part.target_times for part in parts]
    facts = {
        "series": windows.n_series,
        "windows": sum(len(part.cutoffs) for part in parts),
        "forecasts": sum(len(part.window) for part in parts),
        "first time forecast": min(index.min() for index in times),
        "last time forecast": max(index.max() for index in times),
        "past steps in view": explanation.context_length,
        "quantile explained": explanation.quantile,
        "tsfusion": tsfusion.__version__,
    }
    roles = explanation.roles.values()
    for role in dict.fromkeys(roles):
        facts[f"{role} variables"] = ", ".join(
            str(name) for name, its in explanation.roles.items() if its == role
        )
    text = _table("What was explained", facts)
    text += "".join(_lacking(escape(line)) for line in windows.left_out)
    if model is None:
        text += _lacking("Parameters of the model: pass <code>model=</code>.")
    else:
        text += _table("Parameters of the model", model.get_params(deep=False))
    return "given", "Data and parameters", text


def _table(caption: str, facts: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(_short(value))}</td></tr>'
        for name, value in facts.items()
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}">'
        f"<table class=\"facts\"><caption>{escape(caption)}</caption><tbody>{rows}</tbody></table>"
        "</div>"
    )  # fmt: skip


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 400 else f"{text[:400]}..."
