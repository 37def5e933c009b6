"""The charts of a report as Vega-Lite specifications, by Altair; their rows come with the page.

Every field is named here, never after a column of the user's: Vega-Lite would read dots and
brackets in such a name as a path. ``page.js`` adds what depends on the rows, the ends of a scale
(``start``, ``end``, ``most``), what is ticked, the height of a list and the theme: a ``style``
is one of its colours.
"""

from __future__ import annotations

from typing import Any

__all__ = ["specifications"]


def specifications(time: str, bands: int) -> dict[str, dict[str, Any]]:
    """Return a specification for each chart, by the name of its place in the page.

    Parameters
    ----------
    time : {"utc", "number"}
        What kind of values times are.
    bands : int
        Intervals of the fan, the widest first.

    Returns
    -------
    dict of dict
        Data sets are named, and empty.
    """
    import altair as alt

    makers = _Charts(alt, time)
    charts = {
        "fan": makers.fan(bands),
        "when": makers.when(),
        "heat": makers.heat(),
        "importance": makers.importance(),
        "over": makers.over(),
        "paths": makers.paths(),
        "regimes": makers.regimes(),
        "memory": makers.memory(),
        "skill": makers.skill(),
        "reliability": makers.reliability(),
        "pit": makers.pit(),
        "error": makers.by_horizon(),
        "coverage": makers.by_horizon(nominal=True),
    }
    return {name: chart.to_dict() for name, chart in charts.items()}


class _Charts:
    """Altair, and how time is drawn."""

    def __init__(self, alt: Any, time: str) -> None:
        self.alt, self.is_clock = alt, time == "utc"

    def _data(self, name: str) -> Any:
        return self.alt.Chart(self.alt.NamedData(name))

    def _time(self, field: str) -> Any:
        alt = self.alt
        scale: dict[str, Any] = {
            "domainMin": alt.expr("start"), "domainMax": alt.expr("end"), "nice": False,
        }  # fmt: skip
        axis: dict[str, Any] = {"values": alt.expr("ticks"), "grid": False, "labelOverlap": True}
        if self.is_clock:
            scale["type"] = "utc"
            axis["labelExpr"] = "utcFormat(datum.value, tick_format)"
        return alt.X(
            field, type="temporal" if self.is_clock else "quantitative", title=None,
            scale=alt.Scale(**scale), axis=alt.Axis(**axis),
        )  # fmt: skip

    def _y(self, field: str = "y", **kwargs: Any) -> Any:
        alt = self.alt
        kwargs.setdefault("scale", alt.Scale(zero=False))
        return alt.Y(field, type="quantitative", title=None, **kwargs)

    def _share(self, channel: Any, field: str, *, title: Any = None, **scale: Any) -> Any:
        alt = self.alt
        return channel(
            field, type="quantitative", title=title,
            axis=alt.Axis(format="%", tickCount=5), scale=alt.Scale(**{"zero": True, **scale}),
        )  # fmt: skip

    def _tips(self, *pairs: tuple[str, str]) -> list[Any]:
        return [self.alt.Tooltip(field, type="nominal", title=title) for field, title in pairs]

    def _sized(self, chart: Any, height: int = 100) -> Any:
        """As wide as the page; a list gets its height there."""
        fit = self.alt.AutoSizeParams(type="fit-x", contains="padding")
        return chart.properties(width="container", height=height, autosize=fit)

    def _colors(self, field: str) -> Any:
        return self.alt.Color(field, type="nominal", sort=None, title=None)

    def _shapes(self, field: str) -> Any:
        return self.alt.Shape(field, type="nominal", sort=None, title=None)

    def _one_key(self, lines: Any, points: Any) -> Any:
        """Lines and points in the same colours, with a key of the points alone."""
        return self.alt.layer(lines, points).resolve_scale(color="independent", shape="independent")

    def _step(self) -> Any:
        """The step ahead that is chosen on the page."""
        return self.alt.param(name="step", value=1)

    def _steps_chosen(self) -> str:
        return "datum.h === step"

    def fan(self, bands: int) -> Any:
        """History, intervals and median of one window, and the step chosen."""
        alt, ahead = self.alt, self._data("ahead")
        layers = []
        for i in range(bands):
            both = {"y": self._y(f"low{i}"), "y2": f"high{i}"}
            layers.append(
                ahead.mark_area(style=f"band{i}", line=False).encode(x=self._time("t"), **both)
            )
            # One step is no area.
            layers.append(
                ahead.transform_filter("datum.single")
                .mark_rect(style=f"band{i}")
                .encode(x=self._time("t0"), x2="t1", **both)
            )
        if bands:
            layers += [
                ahead.mark_line(style="edge").encode(x=self._time("t"), y=self._y(f"{end}0"))
                for end in ("low", "high")
            ]
        layers += [
            self._data("past").mark_line(style="past").encode(x=self._time("t"), y=self._y()),
            ahead.mark_line(style="median", point=alt.OverlayMarkDef(size=28)).encode(
                x=self._time("t"), y=self._y("median")
            ),
            ahead.transform_filter("isValid(datum.y)")
            .mark_point(style="actual", shape="diamond", size=48)
            .encode(x=self._time("t"), y=self._y()),
            self._data("cutoff").mark_rule(style="cutoff").encode(x=self._time("t")),
            ahead.transform_filter(self._steps_chosen())
            .mark_rule(style="chosen")
            .encode(x=self._time("t")),
            ahead.mark_rect(style="hit").encode(
                x=self._time("t0"),
                x2="t1",
                tooltip=self._tips(
                    ("when", "time"), ("h", "steps ahead"), ("median_text", "median"),
                    ("band_text", "interval"), ("y_text", "known since"),
                ),
            ),
        ]  # fmt: skip
        return self._sized(alt.layer(*layers).add_params(self._step()), 240)

    def when(self) -> Any:
        """Attention of the step chosen, by the time looked at."""
        chart = (
            self._data("cells")
            .transform_filter(self._steps_chosen())
            .mark_rect(style="look")
            .encode(
                x=self._time("t0"),
                x2="t1",
                y=self._share(self.alt.Y, "w", domainMin=0, domainMax=self.alt.expr("most")),
                y2=self.alt.datum(0),
                tooltip=self._tips(("when", "looked at"), ("lag", "lag"), ("w_text", "attention")),
            )
        )
        return self._sized(chart.add_params(self._step()), 80)

    def heat(self) -> Any:
        """Attention by lag and step ahead; the step chosen is framed."""
        alt = self.alt
        lag = alt.X(
            "l0", type="quantitative", title="lag: steps back from the step forecast",
            scale=alt.Scale(reverse=True, zero=False, nice=False),
            axis=alt.Axis(grid=False, tickMinStep=1, labelOverlap=True),
        )  # fmt: skip
        step = alt.Y(
            "h0", type="quantitative", title=None, scale=alt.Scale(zero=False, nice=False),
            axis=alt.Axis(grid=False, values=alt.expr("rows"), labelExpr="steps[datum.value]"),
        )  # fmt: skip
        cells = self._data("cells").mark_rect().encode(
            x=lag, x2="l1", y=step, y2="h1",
            color=alt.Color(
                "w", type="quantitative", title="attention",
                scale=alt.Scale(domainMin=0, domainMax=alt.expr("most")),
                legend=alt.Legend(format=".0%"),
            ),
            tooltip=self._tips(
                ("h", "steps ahead"), ("lag", "lag"), ("when", "looked at"),
                ("target", "forecast of"), ("w_text", "attention"),
            ),
        )  # fmt: skip
        frame = (
            self._data("steps")
            .transform_filter(self._steps_chosen())
            .mark_rect(style="frame")
            .encode(x=lag, x2="l1", y=step, y2="h1")
        )
        return self._sized(alt.layer(cells, frame).add_params(self._step()), 200)

    def importance(self) -> Any:
        """Measures of each variable side by side, each with a shape of its own."""
        alt = self.alt
        chart = (
            self._data("rows")
            .mark_point(size=90, filled=True, opacity=1)
            .encode(
                x=self._share(alt.X, "share"),
                y=alt.Y(
                    "variable", type="nominal", sort=None, title=None, axis=alt.Axis(grid=True)
                ),
                color=self._colors("measure"),
                shape=self._shapes("measure"),
                tooltip=self._tips(
                    ("variable", "variable"), ("measure", "measure"), ("share_text", "share")
                ),
            )
        )
        return self._sized(chart)

    def over(self) -> Any:
        """Share of each variable by cutoff."""
        alt = self.alt
        chart = (
            self._data("rows")
            .mark_rect()
            .encode(
                x=alt.X(
                    "cutoff", type="ordinal", sort=None, title="cutoff",
                    axis=alt.Axis(labelAngle=0, labelBound=True, values=alt.expr("ticks")),
                ),
                y=alt.Y("variable", type="nominal", sort=None, title=None),
                color=alt.Color(
                    "share", type="quantitative", title="share", legend=alt.Legend(format=".0%"),
                    scale=alt.Scale(zero=True),
                ),
                tooltip=self._tips(
                    ("variable", "variable"), ("cutoff", "cutoff"), ("share_text", "share")
                ),
            )
        )  # fmt: skip
        return self._sized(chart)

    def _bars(self, name: str, value: str, text: str, end: str) -> list[Any]:
        """Bars across the page, each with its figure past ``end``."""
        alt, data = self.alt, self._data("rows")
        y = alt.Y(name, type="nominal", sort=None, title=None)
        bars = data.mark_bar(height={"band": 0.7}).encode(
            x=self._share(alt.X, value, domainMin=0, domainMax=alt.expr("most")), y=y
        )
        said = data.mark_text(align="left", dx=4).encode(
            x=alt.X(end, type="quantitative"), y=y, text=alt.Text(text, type="nominal")
        )
        return [bars, said]

    def paths(self) -> Any:
        """Share of the change that each path's absence makes."""
        return self._sized(self.alt.layer(*self._bars("path", "share", "share_text", "share")))

    def regimes(self) -> Any:
        """The series, and below it each window's attention: usual or not."""
        alt = self.alt
        line = self._data("past").mark_line(style="past").encode(
            x=self._time("t"), y=self._y(scale=alt.Scale(zero=False, range=[150, 0]))
        )  # fmt: skip
        kind = {"domain": ["usual", "unusual"]}
        strip = self._data("windows").mark_point(size=80, filled=True, opacity=1).encode(
            x=self._time("t"),
            y=alt.value(182),
            color=alt.Color("kind", type="nominal", title=None, scale=alt.Scale(**kind)),
            shape=alt.Shape(
                "kind", type="nominal", title=None,
                scale=alt.Scale(**kind, range=["circle", "triangle-up"]),
            ),
            tooltip=self._tips(
                ("when", "cutoff"), ("distance_text", "distance"),
                ("threshold_text", "threshold"), ("kind", "attention"),
            ),
        )  # fmt: skip
        base = self._data("windows").mark_rule(style="base").encode(y=alt.value(182))
        return self._sized(alt.layer(line, base, strip), 200)

    def memory(self) -> Any:
        """Slots that the window reads; a tick where training windows read on average."""
        alt = self.alt
        usual = (
            self._data("rows")
            .mark_tick(style="usual", thickness=3)
            .encode(
                x=alt.X("usual", type="quantitative"),
                y=alt.Y("slot", type="nominal", sort=None, title=None),
            )
        )
        return self._sized(alt.layer(*self._bars("slot", "weight", "weight_text", "end"), usual))

    def skill(self) -> Any:
        """Skill of each model against a baseline, with its interval."""
        alt, data = self.alt, self._data("rows")
        y = alt.Y("model", type="nominal", sort=None, title=None)
        zero = self._data("zero").mark_rule(style="cutoff").encode(x="x:Q")
        span = (
            data.transform_filter("isValid(datum.low)")
            .mark_rule(strokeWidth=2)
            .encode(
                x=self._share(alt.X, "low", title="share of the baseline's loss that is saved"),
                x2="high",
                y=y,
            )
        )
        point = data.mark_point(filled=True, size=90, opacity=1).encode(
            x=self._share(alt.X, "skill"), y=y,
            tooltip=self._tips(("model", "model"), ("skill_text", "skill"), ("span", "95 %")),
        )  # fmt: skip
        said = data.mark_text(dy=-12).encode(
            x="skill:Q", y=y, text=alt.Text("skill_text", type="nominal")
        )
        chart = alt.layer(zero, span, point, said)
        return self._sized(chart)

    def reliability(self) -> Any:
        """Share of truths below each quantile, by its level."""
        alt, data = self.alt, self._data("rows")
        level = self._share(alt.X, "level", title="level of the quantile", domain=[0, 1])
        right = (
            self._data("ends")
            .mark_line(style="cutoff")
            .encode(x=level, y=self._share(alt.Y, "level", domain=[0, 1]))
        )
        # Models at the same level stand side by side.
        beside = self._share(alt.X, "place", title="level of the quantile", domain=[0, 1])
        span = data.mark_rule(clip=True).encode(
            x=beside, y=self._share(alt.Y, "low", domain=[0, 1]), y2="high",
            color=self._colors("model").legend(None),
        )  # fmt: skip
        point = data.mark_point(filled=True, size=70, opacity=1).encode(
            x=beside,
            y=self._share(alt.Y, "observed", domain=[0, 1]),
            color=self._colors("model"),
            shape=self._shapes("model"),
            tooltip=self._tips(
                ("model", "model"), ("level_text", "level"), ("observed_text", "truths below"),
                ("count", "forecasts"),
            ),
        )  # fmt: skip
        return self._sized(alt.layer(right, self._one_key(span, point)), 260)

    def pit(self) -> Any:
        """Density of the truths between the quantiles; flat where these are right."""
        alt = self.alt
        bars = self._data("rows").mark_rect(style="bin").encode(
            x=self._share(alt.X, "low", title="place among the quantiles", domain=[0, 1]),
            x2="high",
            y=alt.Y("density", type="quantitative", title=None, scale=alt.Scale(zero=True)),
            y2=alt.datum(0),
            tooltip=self._tips(
                ("bin", "between"), ("share_text", "truths"), ("density_text", "density")
            ),
        )  # fmt: skip
        flat = self._data("flat").mark_rule(style="cutoff").encode(y="y:Q")
        return self._sized(alt.layer(bars, flat), 200)

    def by_horizon(self, *, nominal: bool = False) -> Any:
        """A score of each model by step ahead; ``nominal`` is for shares, with their aim."""
        alt, data = self.alt, self._data("rows")
        x = alt.X(
            "step", type="quantitative", title="steps ahead", scale=alt.Scale(zero=False),
            axis=alt.Axis(tickMinStep=1, format="d", grid=False),
        )  # fmt: skip
        y = self._share(alt.Y, "value", domain=[0, 1]) if nominal else self._y("value")
        line = data.mark_line().encode(x=x, y=y, color=self._colors("model").legend(None))
        point = data.mark_point(filled=True, size=60, opacity=1).encode(
            x=x, y=y, color=self._colors("model"), shape=self._shapes("model"),
            tooltip=self._tips(
                ("model", "model"), ("step", "steps ahead"), ("value_text", "value")
            ),
        )  # fmt: skip
        layers = [self._one_key(line, point)]
        if nominal:
            layers.append(self._data("aim").mark_rule(style="cutoff").encode(y="value:Q"))
        return self._sized(alt.layer(*layers), 200)
