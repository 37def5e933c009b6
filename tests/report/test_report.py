"""The report's file: its numbers are those of the tables, and its names stay text."""

import base64
import dataclasses
import hashlib
import importlib.util
import json
import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from tests.report.made import LEVELS, made_backtest, made_explanation
from tsfusion.evaluation import evaluate, reliability, skill_scores
from tsfusion.report import page

needs_altair = pytest.mark.skipif(
    importlib.util.find_spec("altair") is None or importlib.util.find_spec("vl_convert") is None,
    reason="needs the extra report: pip install 'tsfusion[report]'",
)
EVIL = ["<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "a.b[0]\"'\\"]


class Page(HTMLParser):
    """The tags, texts and scripts of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self.scripts = [], [], []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data):
        inside = self.tags[-1][0] if self.tags else ""
        if inside == "script":
            self.scripts[-1] += data
        else:
            self.texts.append(data)

    @property
    def data(self):
        return json.loads(self.scripts[0])

    @property
    def text(self):
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def explanation():
    return made_explanation()


@pytest.fixture(scope="module")
def written(explanation, tmp_path_factory):
    """A page with everything in it."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    ahead = made_explanation(per_series=1, start="2024-01-13", seed=1)
    explanation.to_html(path, ahead=ahead, backtest=made_backtest())
    return Page(path)


@needs_altair
def test_the_page_holds_the_numbers_of_the_tables(explanation, written):
    data = written.data
    assert [one["name"] for one in data["series"]] == ["a", "b"]
    assert data["bands"] == [[0.1, 0.9, 0, 4], [0.3, 0.7, 1, 3]]
    assert data["median"] == 2
    old = [one for one in data["windows"] if not one["new"]]
    assert len(old) == 6
    assert len(data["windows"]) == 8
    for w, shown in enumerate(old):
        entry = np.flatnonzero(explanation.window == w)
        np.testing.assert_allclose(
            shown["quantiles"], explanation.quantiles[entry][:, [0, 2, 4, 6, 8]], atol=2e-5
        )
        times = pd.to_datetime(data["series"][shown["series"]]["time"], unit="ms")
        place = np.arange(shown["at"], shown["at"] + 16)
        assert list(times[place]) == list(explanation.source_times[16 * w : 16 * w + 16])
        for branch in explanation.branches:
            mean = branch.scores[entry].mean(axis=1)
            np.testing.assert_allclose(
                np.array(shown["attention"][branch.name]) / 1e4, mean, atol=5.1e-5
            )
        shares = explanation.window_shares()
        np.testing.assert_allclose(
            shown["shares"]["past"], explanation.weights["past"].iloc[w], atol=5.1e-5
        )
        np.testing.assert_allclose(
            shown["shares"]["attribution"], shares["attribution"].iloc[w], atol=5.1e-5
        )
        assert shown["regime"][2] == explanation.regimes()["unusual"][w]
    history = explanation.history()
    known = {
        (one["name"], pd.Timestamp(t, unit="ms")): y
        for one in data["series"]
        for t, y in zip(one["time"], one["y"])
    }
    drawn = [known[row.store, row.time] for row in history.itertuples() if row.time.day < 13]
    expected = history["value"][history["time"].dt.day < 13]
    np.testing.assert_allclose(drawn, expected, atol=1e-4)


@needs_altair
def test_the_intervals_of_a_calibrated_forecaster_are_calibrated(explanation, written, tmp_path):
    assert "it has not been calibrated" in written.text
    wider = (explanation.quantiles - explanation.quantiles[:, [4]]) * 3 + explanation.median[
        :, None
    ]
    moved = dataclasses.replace(explanation, calibrated=wider)
    moved.to_html(tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert "Quantiles are calibrated" in page.text
    shown = np.concatenate([one["quantiles"] for one in page.data["windows"]])
    np.testing.assert_allclose(shown, wider[:, [0, 2, 4, 6, 8]], atol=2e-5)
    with pytest.raises(ValueError, match="one of the two by a calibrated model"):
        explanation.to_html(tmp_path / "both.html", ahead=moved)


@needs_altair
def test_what_a_backtest_adds_is_that_of_evaluation(written):
    frame, fixed = made_backtest(), written.data["fixed"]
    expected = reliability(frame)
    np.testing.assert_allclose(
        [row["observed"] for row in fixed["reliability"]], expected["observed"], rtol=1e-5
    )
    scores = evaluate(frame, by="step", metrics=["mae", "coverage"])
    np.testing.assert_allclose([row["value"] for row in fixed["error"]], scores["mae"], rtol=1e-5)
    np.testing.assert_allclose(
        [row["value"] for row in fixed["coverage"]], scores["coverage_0.8"], rtol=1e-5
    )
    (skill,) = fixed["skill"]
    table = skill_scores(frame, baseline="seasonal_naive").set_index("model")
    assert skill["model"] == "net"
    assert skill["skill"] == pytest.approx(table.loc["net", "skill"], rel=1e-5)
    assert fixed["aim"] == [{"value": 0.8}]


@needs_altair
def test_names_from_the_data_stay_text(tmp_path):
    found = made_explanation(EVIL, 1, target=EVIL[1], variables=EVIL[:1] + EVIL[2:])
    frame = made_backtest(models=EVIL[:2], series=EVIL)
    found.to_html(tmp_path / "evil.html", backtest=frame, title=f"All of {EVIL[0]}")
    read = Page(tmp_path / "evil.html")
    tags = [tag for tag, _ in read.tags]
    assert tags.count("script") == 3
    assert "img" not in tags
    assert [one["name"] for one in read.data["series"]] == EVIL
    assert {row["variable"] for row in read.data["fixed"]["importance"]} == set(EVIL)
    assert f"All of {EVIL[0]}" in read.texts
    # No field of a chart is named after a column: Vega-Lite reads some signs as paths.
    charts = json.dumps(read.data["charts"])
    assert not any(json.dumps(name)[1:-1] in charts for name in EVIL)


@needs_altair
def test_the_page_admits_its_own_scripts_alone(written):
    policy = next(a["content"] for t, a in written.tags if a.get("http-equiv"))
    for script in written.scripts[1:]:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert not [a for _, a in written.tags if "src" in a or a.get("href", "#")[0] != "#"]
    assert ("html", {"lang": "en"}) in written.tags


@needs_altair
def test_what_was_not_computed_is_named_in_one_line(tmp_path):
    made_explanation(["a"], 1, bare=True).to_html(tmp_path / "bare.html")
    text = Page(tmp_path / "bare.html").text
    for said in (
        'explain(checks="fast")', 'explain(methods=(..., "paths"))',
        'explain(methods=(..., "regimes"))', 'explain(methods=(..., "memory"))',
        'explain(methods=(..., "attribution"))', "backtest=model.backtest(X)", "model=",
    ):  # fmt: skip
        assert said in text, said


@needs_altair
def test_fifty_series_fit_in_three_megabytes_and_the_rest_is_named(tmp_path):
    names = [f"store {i}" for i in range(60)]
    variables = [f"variable {i}" for i in range(12)]
    found = made_explanation(names, 9, horizon=24, context=168, variables=variables, bare=True)
    found.to_html(tmp_path / "many.html")
    assert (tmp_path / "many.html").stat().st_size <= 3_000_000
    read = Page(tmp_path / "many.html")
    assert len(read.data["series"]) == 50
    assert "50 of 60 series are shown" in read.text
    with_attention = {one["series"] for one in read.data["windows"] if "attention" in one}
    assert with_attention == set(range(50))
    assert "newest windows is kept" in read.text


@needs_altair
def test_a_file_that_cannot_be_written_stays_as_it_was(explanation, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr(page, "_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explanation.to_html(path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


@needs_altair
def test_bad_input_is_told_before_any_work(explanation, tmp_path):
    path = tmp_path / "report.html"
    with pytest.raises(ValueError, match="max_series: expected an integer >= 1, received 0"):
        explanation.to_html(path, max_series=0)
    with pytest.raises(TypeError, match="ahead: expected an Explanation, received dict"):
        explanation.to_html(path, ahead={})
    with pytest.raises(ValueError, match="ahead: expected an explanation by the same model"):
        explanation.to_html(path, ahead=made_explanation(context=8))
    with pytest.raises(ValueError, match="baseline: expected one of .* received 'x'"):
        explanation.to_html(path, backtest=made_backtest(), baseline="x")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        explanation.to_html(tmp_path / "none" / "report.html")
    with pytest.raises(IsADirectoryError, match="expected the name of a file"):
        explanation.to_html(tmp_path)
    assert not path.exists()


def test_without_altair_the_extra_is_named(explanation, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'tsfusion\[report\]'"):
        explanation.to_html(tmp_path / "report.html")


def test_series_of_the_same_text_stay_apart():
    from tsfusion.report.payload import Windows

    found = made_explanation(per_series=2)
    labels = pd.Index([1, 1, "1", "1"], dtype=object)
    values = Windows.of([dataclasses.replace(found, series_labels=labels)], 50, [4]).values
    assert [one["name"] for one in values["series"]] == ["1", "1"]
    assert [one["series"] for one in values["windows"]] == [0, 0, 1, 1]
    assert values["series"][0]["y"] != values["series"][1]["y"]


def test_times_of_other_kinds_are_shown(explanation):
    from tsfusion.report.payload import Windows

    whole = dataclasses.replace(
        explanation, series_names=(), series_labels=pd.Index([0] * 6),
        source_times=pd.Index(np.arange(96) % 24), cutoffs=pd.Index(np.arange(6) * 3 + 11),
        target_times=pd.Index(np.arange(24)),
    )  # fmt: skip
    found = Windows.of([whole], 50, [4])
    assert found.kind == "number"
    assert found.values["series"][0]["name"] == ""
    assert found.values["series"][0]["time"] == list(range(24))
    zone = explanation.source_times.tz_localize("Asia/Tokyo")
    zoned = dataclasses.replace(
        explanation, source_times=zone, cutoffs=explanation.cutoffs.tz_localize("Asia/Tokyo")
    )
    # The clock that the times show, wherever the page is read.
    assert Windows.of([zoned], 50, [4]).values == Windows.of([explanation], 50, [4]).values


def _luminance(color):
    parts = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _contrast(one, other):
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_in_both_themes():
    """WCAG 2.2: 4.5:1 for text (1.4.3), 3:1 for what is drawn (1.4.11)."""
    style = (files("tsfusion.report") / "page.css").read_text("utf-8")
    script = (files("tsfusion.report") / "page.js").read_text("utf-8")
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", style)
    dark, light = re.search(r"category: dark \? (\[.*?\]) : (\[.*?\])", script).groups()
    for block, drawn in zip(blocks, (light, dark), strict=True):
        color = dict(re.findall(r"--(\w+): (#\w{6})", block))
        for ground in ("page", "card"):
            for name in ("text", "soft", "accent", "good", "bad"):
                assert _contrast(color[name], color[ground]) >= 4.5, (name, ground)
            for name in ("edge", "focus"):
                assert _contrast(color[name], color[ground]) >= 3, (name, ground)
        for one in json.loads(drawn):
            assert _contrast(one, color["card"]) >= 3, one


def test_bands_are_central_intervals():
    from tsfusion.report.evidence import bands

    assert [one[:2] for one in bands(LEVELS)] == [(0.1, 0.9), (0.3, 0.7)]
    assert bands((0.5,)) == []
