"use strict";
// The page of one explanation: draws what is chosen, and the table behind every chart.
(() => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const state = { series: 0, window: 0, step: 1 };
  const views = {};   // Name of a chart -> Vega view.
  const shown = {};   // Name of a chart -> what it shows: rows of its table, and how to draw it.

  // Texts.
  const stamp = (t) => {
    if (t === null || t === undefined) return "";
    if (D.kind !== "utc") return String(t);
    return new Date(t).toISOString().slice(0, daily ? 10 : 16).replace("T", " ");
  };
  const daily = D.kind === "utc" && D.series.every((s) => s.time.every((t) => t % 86400000 === 0));
  const number = (x) => {
    if (x === null || x === undefined) return "";
    if (x === 0) return "0";
    const size = Math.abs(x);
    if (size >= 1e7 || size < 1e-4) return x.toExponential(3);
    return String(Number(x.toPrecision(5)));
  };
  const percent = (x) => (x === null || x === undefined ? "" : `${(100 * x).toFixed(Math.abs(x) < 0.0995 ? 1 : 0)}%`.replace("-", "\u2212"));

  // What is chosen.
  const windowsOf = (s) => D.windows.map((w, i) => [w, i]).filter(([w]) => w.series === s);
  const current = () => D.windows[state.window];
  const place = (w, k) => (typeof w.at === "number" ? w.at + k : w.at[k]);

  function timesOf(w) {
    const time = D.series[w.series].time;
    const size = w.past + Math.max(...w.step);
    return Array.from({ length: size }, (_, k) => time[place(w, k)]);
  }

  function spanOf(times, k) {
    const gap = (i) => times[i + 1] - times[i];
    const before = k > 0 ? gap(k - 1) : gap(0), after = k + 1 < times.length ? gap(k) : before;
    return [times[k] - (before || after || 1) / 2, times[k] + (after || before || 1) / 2];
  }

  // The time axis: some of the times themselves, however they lie.
  function axisOf(times) {
    const most = document.documentElement.clientWidth < 640 ? 4 : 8;
    const every = Math.max(1, Math.ceil(times.length / most));
    const ticks = times.filter((_, k) => k % every === 0);
    const monthly = daily && times.every((t) => new Date(t).getUTCDate() === 1);
    const years = new Set(times.map((t) => new Date(t).getUTCFullYear())).size > 1;
    const day = years ? "%Y-%m-%d" : "%b %d";
    return {
      start: spanOf(times, 0)[0], end: spanOf(times, times.length - 1)[1], ticks,
      tick_format: monthly ? "%Y-%m" : daily ? day : `${day} %H:%M`,
    };
  }

  // Rows of the charts.
  function fanRows() {
    const w = current(), s = D.series[w.series], times = timesOf(w);
    const past = [], ahead = [];
    for (let k = 0; k < w.past; k += 1) past.push({ t: times[k], y: s.y[place(w, k)] });
    w.step.forEach((h, i) => {
      const k = w.past + h - 1, q = w.quantiles[i], [t0, t1] = spanOf(times, k);
      const y = s.y[place(w, k)] ?? null, when = stamp(times[k]);
      const row = { t: times[k], t0, t1, h, when, y, median: q[D.median], single: w.step.length === 1 };
      D.bands.forEach(([, , i0, i1], b) => { row[`low${b}`] = q[i0]; row[`high${b}`] = q[i1]; });
      row.median_text = number(row.median);
      row.band_text = D.bands.length ? `${number(row.low0)} to ${number(row.high0)}` : "";
      row.y_text = y === null ? "not yet" : number(y);
      ahead.push(row);
    });
    const [, cut] = spanOf(times, w.past - 1);
    return { past, ahead, cutoff: [{ t: cut }], times };
  }

  function cellRows(branch) {
    const w = current();
    if (!w.attention) return null;
    const times = timesOf(w), scores = w.attention[branch.name], cells = [], steps = [];
    let most = 0;
    w.step.forEach((h, i) => {
      let far = 0;
      const target = stamp(times[w.past + h - 1]);
      branch.last.forEach((last, k) => {
        const l0 = h - 1 - last, l1 = h - branch.first[k], from = w.past + branch.first[k];
        if (l0 < 0) return;
        const first = Math.max(0, from), weight = scores[i][k] / 1e4;
        if (w.past + last < 0) return;
        const [t0] = spanOf(times, first), [, t1] = spanOf(times, w.past + last);
        const when = stamp(times[first]) + (l1 - l0 > 1 ? ` to ${stamp(times[w.past + last])}` : "");
        const lag = l1 - l0 > 1 ? `${l0} to ${l1 - 1}` : String(l0);
        cells.push({
          h, h0: i - 0.5, h1: i + 0.5, l0: l0 - 0.5, l1: l1 - 0.5, t0, t1, w: weight, when, target,
          lag, w_text: percent(weight),
        });
        most = Math.max(most, weight);
        far = Math.max(far, l1 - 0.5);
      });
      const near = Math.min(...cells.filter((c) => c.h === h).map((c) => c.l0));
      steps.push({ h, h0: i - 0.5, h1: i + 0.5, l0: near, l1: far });
    });
    return { cells, steps, times, most };
  }

  // Themes: the charts' colours are those of the page.
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const isDark = () => document.documentElement.dataset.theme === "dark";
  function theme() {
    const text = css("--text"), soft = css("--soft"), line = css("--line"), accent = css("--accent");
    const card = css("--card"), bad = css("--bad"), dark = isDark();
    const font = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
    const narrow = document.documentElement.clientWidth < 640;
    const label = { labelColor: text, titleColor: soft, labelFont: font, titleFont: font, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 400 };
    return {
      background: null, font, aria: false,
      view: { stroke: null },
      axis: { ...label, gridColor: line, domainColor: css("--edge"), tickColor: css("--edge"), labelLimit: narrow ? 110 : 220 },
      axisY: { minExtent: narrow ? 34 : 46 },
      legend: { ...label, orient: "top", columns: narrow ? 1 : 5, symbolSize: 80, labelLimit: 220, gradientLength: narrow ? 120 : 200, gradientThickness: 10, offset: 10 },
      mark: { color: accent, tooltip: null },
      text: { color: text, font, fontSize: 12 },
      rule: { color: accent }, line: { strokeWidth: 2 },
      range: {
        category: dark ? ["#7db0ff", "#ffb066", "#5fd4b4", "#e3a0ff", "#f2e06b"] : ["#1f5fbf", "#b4540a", "#0f766e", "#8b2fc9", "#6b5b00"],
        symbol: ["circle", "square", "triangle-up", "diamond", "cross"],
        ramp: dark ? ["#1e2833", "#2f5fa0", "#8fc0ff", "#eaf3ff"] : ["#eef3f9", "#9dbfe8", "#2f6fc4", "#0a2f66"],
        heatmap: dark ? ["#1e2833", "#2f5fa0", "#8fc0ff", "#eaf3ff"] : ["#eef3f9", "#9dbfe8", "#2f6fc4", "#0a2f66"],
      },
      style: {
        band0: { fill: accent, stroke: accent, fillOpacity: 0.18, strokeOpacity: 0, opacity: 1 },
        band1: { fill: accent, stroke: accent, fillOpacity: 0.28, strokeOpacity: 0, opacity: 1 },
        band2: { fill: accent, stroke: accent, fillOpacity: 0.3, strokeOpacity: 0, opacity: 1 },
        edge: { color: accent, strokeWidth: 1 },
        past: { color: text, strokeWidth: 1.5 },
        median: { color: accent, strokeWidth: 2.5 },
        actual: { color: text, strokeWidth: 1.75, fill: card },
        cutoff: { color: soft, strokeDash: [2, 3] },
        base: { color: line },
        chosen: { color: bad, strokeWidth: 2, strokeDash: [5, 3] },
        frame: { stroke: bad, strokeWidth: 2, fillOpacity: 0 },
        hit: { fill: accent, fillOpacity: 0, cursor: "pointer" },
        look: { color: accent },
        usual: { color: text },
        bin: { color: accent, stroke: card },
      },
    };
  }

  // Drawing.
  async function draw(name, kind, datasets, values, table) {
    const element = $(`chart-${name}`);
    if (!element) return;
    element.setAttribute("role", "img");
    shown[name] = table;
    fillTable(name);
    const { height, ...ends } = values, spec = { ...D.charts[kind], datasets };
    if (height) spec.height = height;
    spec.params = [...(spec.params || []), ...Object.entries(ends).map(([param, value]) => ({ name: param, value }))];
    const large = Object.values(datasets).some((rows) => rows.length > 6000);
    const made = await vegaEmbed(element, spec, {
      actions: false, ast: true, renderer: large ? "canvas" : "svg", config: theme(), logLevel: 1,
      tooltip: { theme: isDark() ? "dark" : "light" },
    });
    if (views[name]) views[name].finalize();
    views[name] = made;
    // The element around it has the name; the marks would be read one by one, without any.
    element.querySelector("svg, canvas").setAttribute("aria-hidden", "true");
    made.view.addEventListener("click", (_, item) => {
      if (item && item.datum && typeof item.datum.h === "number") choose(item.datum.h);
    });
    if ("step" in (made.view.getState().signals || {})) await made.view.signal("step", state.step).runAsync();
  }

  // Tables: text nodes only, so that no name can become a tag.
  function tableOf(columns, rows) {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    columns.forEach(([, title, format]) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = title;
      if (format) cell.className = "number";
      head.append(cell);
    });
    const body = table.createTBody();
    rows.slice(0, 1000).forEach((row) => {
      const line = body.insertRow();
      columns.forEach(([field, , format]) => {
        const cell = line.insertCell();
        cell.textContent = format ? format(row[field]) : row[field] ?? "";
        if (format) cell.className = "number";
      });
    });
    if (rows.length > 1000) {
      const cell = body.insertRow().insertCell();
      cell.colSpan = columns.length;
      cell.textContent = `${rows.length - 1000} more rows are not listed.`;
    }
    return table;
  }

  function fillTable(name) {
    const details = $(`table-${name}`), table = shown[name];
    if (!details || !details.open || !table) return;
    details.querySelector(".scroll").replaceChildren(tableOf(table.columns, table.rows()));
  }

  function note(name, text) {
    const element = $(`chart-${name}`);
    if (!element) return;
    if (views[name]) { views[name].finalize(); delete views[name]; }
    const said = document.createElement("p");
    element.removeAttribute("role");
    said.className = "lacking";
    said.textContent = text;
    element.replaceChildren(said);
    shown[name] = { columns: [["text", "note"]], rows: () => [{ text }] };
    fillTable(name);
  }

  // The parts of the page.
  function drawWindow() {
    const { past, ahead, cutoff, times } = fanRows();
    const span = axisOf(times);
    const bands = D.bands.flatMap(([low, high], b) => [
      [`low${b}`, `${percent(low)} quantile`, number], [`high${b}`, `${percent(high)} quantile`, number],
    ]);
    const jobs = [draw("fan", "fan", { past, ahead, cutoff }, span, {
      columns: [["h", "step", number], ["when", "time"], ["median", "median", number], ...bands, ["y", "known since", number]],
      rows: () => ahead,
    })];
    D.branches.forEach((branch) => {
      const found = cellRows(branch), names = [`when-${branch.name}`, `heat-${branch.name}`];
      if (!found) {
        names.forEach((name) => note(name, "The attention of this window was left out for the size of the file. Choose a newer one."));
        return;
      }
      const columns = [["h", "step ahead", number], ["target", "forecast of"], ["lag", "lag"], ["when", "looked at"], ["w_text", "attention"]];
      // A row for each step explained, however far they are apart.
      const steps = current().step, every = Math.ceil(steps.length / 12);
      const rows = [...steps.keys()].filter((i) => i % every === 0);
      const heat = { most: found.most, rows, steps, height: Math.max(44, Math.min(300, 28 * steps.length)) };
      const values = { ...span, most: found.most };
      jobs.push(draw(names[0], "when", { cells: found.cells }, values, {
        columns, rows: () => found.cells.filter((c) => c.h === state.step),
      }));
      jobs.push(draw(names[1], "heat", { cells: found.cells, steps: found.steps }, heat, {
        columns, rows: () => found.cells,
      }));
    });
    jobs.push(drawMemory());
    say();
    return Promise.all(jobs);
  }

  function drawSeries() {
    const series = D.series[state.series], mine = windowsOf(state.series).map(([w]) => w);
    const measure = D.variables.attribution ? "attribution" : "past";
    const names = D.variables[measure] || [];
    const rows = mine.flatMap((w) => names.map((variable, i) => ({
      variable, cutoff: stamp(w.cutoff), share: (w.shares[measure] || [])[i] ?? null,
      share_text: percent((w.shares[measure] || [])[i]),
    })).filter((row) => row.share !== null));
    const total = new Map();
    rows.forEach((row) => total.set(row.variable, (total.get(row.variable) || 0) + row.share));
    const top = [...total].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([name]) => name);
    const drawn = top.flatMap((name) => rows.filter((row) => row.variable === name));
    const cutoffs = mine.map((w) => stamp(w.cutoff)), most = document.documentElement.clientWidth < 640 ? 1 : 6;
    const every = Math.ceil(cutoffs.length / most);
    const ticks = cutoffs.filter((_, i) => i % every === Math.floor(every / 2));
    const jobs = [draw("over", "over", { rows: drawn }, { height: 24 * top.length, ticks }, {
      columns: [["cutoff", "cutoff"], ["variable", "variable"], ["share_text", "share"]], rows: () => rows,
    })];
    const marked = mine.filter((w) => w.regime).map((w) => ({
      t: w.cutoff, when: stamp(w.cutoff), kind: w.regime[2] ? "unusual" : "usual",
      distance_text: number(w.regime[0]), threshold_text: number(w.regime[1]),
    }));
    const past = series.time.map((t, i) => ({ t, y: series.y[i] }));
    const span = axisOf(series.time);
    jobs.push(draw("regimes", "regimes", { past, windows: marked }, span, {
      columns: [["when", "cutoff"], ["distance_text", "distance"], ["threshold_text", "threshold"], ["kind", "attention"]],
      rows: () => marked,
    }));
    return Promise.all(jobs);
  }

  async function drawMemory() {
    const w = current(), place = $("nearest");
    if (!place) return;
    if (!w.slots) {
      note("memory", "The memory of this window was not asked for.");
      place.replaceChildren();
      return;
    }
    const rows = w.slots.map((weight, i) => ({ slot: `slot ${i + 1}`, weight, weight_text: percent(weight), usual: D.memory[i], end: Math.max(weight, D.memory[i]) }));
    const near = w.nearest.map(([series, cutoff, alike], i) => ({ rank: i + 1, series, cutoff: stamp(cutoff), alike }));
    const columns = [["rank", "rank", number], ["series", "series"], ["cutoff", "cutoff"], ["alike", "similarity", number]];
    place.replaceChildren(tableOf(D.series.length > 1 || D.series[0].name ? columns : columns.filter(([f]) => f !== "series"), near));
    await draw("memory", "memory", { rows }, { height: 24 * rows.length, most: 1.12 * Math.max(...w.slots, ...D.memory) }, {
      columns: [["slot", "slot"], ["weight", "this window", percent], ["usual", "training", percent]], rows: () => rows,
    });
  }

  function drawFixed() {
    const jobs = [], F = D.fixed;
    const measures = [["attribution", "attribution"], ["sensitivity", "sensitivity"], ["past", "selection (past)"], ["future", "selection (future)"], ["static", "selection (static)"]];
    const present = measures.filter(([field]) => F.importance.some((row) => row[field] !== null && row[field] !== undefined));
    const points = F.importance.flatMap((row) => present.map(([field, measure]) => ({
      variable: row.variable, measure, share: row[field] ?? null, share_text: percent(row[field]),
    })).filter((point) => point.share !== null));
    jobs.push(draw("importance", "importance", { rows: points }, { height: 26 * F.importance.length }, {
      columns: [["variable", "variable"], ["role", "role"], ...present.map(([field, title]) => [field, title, percent])],
      rows: () => F.importance,
    }));
    if (F.paths.length) {
      const rows = [...F.paths].sort((a, b) => b.share - a.share).map((row) => ({ ...row, share_text: percent(row.share) }));
      jobs.push(draw("paths", "paths", { rows }, { height: 28 * rows.length, most: 1.12 * Math.max(...rows.map((r) => r.share)) }, {
        columns: [["path", "path"], ["share", "share", percent], ["change", "mean change", number], ["loss_ratio", "loss without it / with it", number], ["low", "95 % from", number], ["high", "to", number]],
        rows: () => rows,
      }));
    }
    if (F.skill) {
      const rows = F.skill.map((row) => ({ ...row, skill_text: percent(row.skill), span: row.low === null ? "one window only" : `${percent(row.low)} to ${percent(row.high)}` }));
      jobs.push(draw("skill", "skill", { rows, zero: [{ x: 0 }] }, { height: 44 * rows.length }, {
        columns: [["model", "model"], ["mae", "mean absolute error", number], ["skill", "skill", percent], ["low", "95 % from", percent], ["high", "to", percent]], rows: () => rows,
      }));
    }
    if (F.reliability) {
      const models = [...new Set(F.reliability.map((row) => row.model))];
      const rows = F.reliability.map((row) => ({ ...row, place: row.level + 0.008 * (models.indexOf(row.model) - (models.length - 1) / 2), level_text: percent(row.level), observed_text: percent(row.observed) }));
      jobs.push(draw("reliability", "reliability", { rows, ends: [{ level: 0 }, { level: 1 }] }, {}, {
        columns: [["model", "model"], ["level", "level", percent], ["observed", "truths below", percent], ["standard_error", "standard error", percent], ["count", "forecasts", number]], rows: () => rows,
      }));
      const bins = F.pit.map((row) => ({ ...row, bin: `${percent(row.low)} and ${percent(row.high)}`, share_text: percent(row.share), density_text: number(row.density) }));
      jobs.push(draw("pit", "pit", { rows: bins, flat: [{ y: 1 }] }, {}, {
        columns: [["bin", "between"], ["share", "truths", percent], ["density", "density", number], ["count", "forecasts", number]], rows: () => bins,
      }));
    }
    if (F.error) {
      const rows = F.error.map((row) => ({ ...row, value_text: number(row.value) }));
      jobs.push(draw("error", "error", { rows }, {}, {
        columns: [["model", "model"], ["step", "step ahead", number], ["value", "mean absolute error", number]], rows: () => rows,
      }));
    }
    if (F.coverage) {
      const rows = F.coverage.filter((row) => row.value !== null).map((row) => ({ ...row, value_text: percent(row.value) }));
      jobs.push(draw("coverage", "coverage", { rows, aim: F.aim }, {}, {
        columns: [["model", "model"], ["step", "step ahead", number], ["value", "coverage", percent]], rows: () => rows,
      }));
    }
    return Promise.all(jobs);
  }

  // In words, for those who cannot see it and those who want the figures.
  function say() {
    const { ahead } = fanRows(), row = ahead.find((one) => one.h === state.step);
    const looks = D.branches.map((branch) => {
      const found = cellRows(branch);
      if (!found) return "";
      const top = found.cells.filter((c) => c.h === state.step).sort((a, b) => b.w - a.w).slice(0, 3);
      return ` Most attention${branch.name === "all" ? "" : ` (${branch.name} window)`}: ${top.map((c) => `lag ${c.lag} (${c.when}, ${c.w_text})`).join("; ")}.`;
    });
    const interval = D.bands.length ? ` (${row.band_text})` : "";
    const since = row.y === null ? "" : `, known since: ${row.y_text}`;
    $("said").textContent = `${state.step} steps ahead, ${row.when}: ${row.median_text}${interval}${since}.${looks.join("")}`.replace(/^1 steps/, "1 step");
    $("step-text").textContent = `${state.step} (${row.when})`;
    $("step").setAttribute("aria-valuetext", `${state.step} steps ahead, ${row.when}`);
  }

  function choose(step) {
    const steps = current().step;
    state.step = steps.reduce((best, h) => (Math.abs(h - step) < Math.abs(best - step) ? h : best), steps[0]);
    $("step").value = String(state.step);
    say();
    return Promise.all(Object.entries(views).filter(([name]) => name === "fan" || /^(when|heat)-/.test(name)).map(([name, made]) => {
      fillTable(name);
      return made.view.signal("step", state.step).runAsync();
    }));
  }

  function fillWindows() {
    const options = windowsOf(state.series).reverse().map(([w, i]) => {
      const option = document.createElement("option");
      option.value = String(i);
      option.textContent = stamp(w.cutoff) + (w.new ? " (to come)" : "");
      return option;
    });
    $("window").replaceChildren(...options);
    state.window = Number(options[0].value);
  }

  function stepRange() {
    const steps = current().step, slider = $("step");
    slider.min = String(Math.min(...steps));
    slider.max = String(Math.max(...steps));
    slider.disabled = steps.length < 2;
    state.step = steps.includes(state.step) ? state.step : steps[0];
    slider.value = String(state.step);
  }

  async function showSeries(index) {
    state.series = index;
    fillWindows();
    stepRange();
    await Promise.all([drawWindow(), drawSeries()]);
  }

  async function all() {
    document.body.dataset.drawn = "no";
    await Promise.all([drawWindow(), drawSeries(), drawFixed()]);
    document.body.dataset.drawn = "yes";
  }

  // Start.
  function setTheme(dark) {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    $("theme").setAttribute("aria-pressed", String(dark));
  }
  const wish = window.matchMedia("(prefers-color-scheme: dark)");
  setTheme(wish.matches);
  wish.addEventListener("change", () => { setTheme(wish.matches); all(); });
  $("theme").addEventListener("click", () => { setTheme(!isDark()); all(); });

  D.series.forEach((series, i) => {
    const option = document.createElement("option");
    option.value = String(i);
    option.textContent = series.name || "the series";
    $("series").append(option);
  });
  if (D.series.length < 2) $("series-label").hidden = true;
  $("series").addEventListener("change", (event) => showSeries(Number(event.target.value)));
  $("window").addEventListener("change", (event) => {
    state.window = Number(event.target.value);
    stepRange();
    drawWindow();
  });
  $("step").addEventListener("input", (event) => choose(Number(event.target.value)));
  document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
  document.querySelectorAll("details.table").forEach((details) => {
    details.addEventListener("toggle", () => fillTable(details.id.slice("table-".length)));
  });
  let wide = document.documentElement.clientWidth >= 640;
  window.addEventListener("resize", () => {
    const now = document.documentElement.clientWidth >= 640;
    if (now !== wide) { wide = now; all(); }
  });
  fillWindows();
  stepRange();
  all();
})();
