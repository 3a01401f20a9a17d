"use strict";
// Draws the page from the data it holds. Text from the data gets into the page as text nodes and attribute values only,
// never as markup, so that a title can hold any characters.
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const percent = (x) => `${(100 * x).toFixed(x > 0 && x < 0.0995 ? 1 : 0)}%`;
  const signed = (x) => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(2);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // element("p", {class: "why", "--from": "3%"}, "text", another): names with -- are style properties.
  function element(tag, attributes = {}, ...children) {
    const result = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("--")) result.style.setProperty(name, value);
      else result.setAttribute(name, value);
    }
    result.append(...children);
    return result;
  }

  // The place of a section for its pictures; a section without any is not shown.
  function place(id, pictures) {
    const section = document.getElementById(id);
    section.hidden = pictures.length === 0;
    section.querySelector(".picture").append(...pictures);
  }

  // ---- curves

  // One model has one colour in all charts.
  const names = [...new Set([...report.losses, ...report.validations.flatMap((chart) => chart.curves)].map((c) => c.name))];
  const colour = (name) => css(`--series-${(names.indexOf(name) % 5) + 1}`);
  const faint = (name) => colour(name) + "55";
  const points = (curve, column) => curve.points.map((point) => ({ x: point[0], y: point[column] }));

  // A loss is two lines: single steps, faint, and their average.
  const loss_lines = (curve) => [
    { label: curve.name, data: points(curve, 2), borderColor: colour(curve.name), borderWidth: 2, pointRadius: 0 },
    { label: curve.name, data: points(curve, 1), borderColor: faint(curve.name), borderWidth: 1, pointRadius: 0, faint: true },
  ];
  const validation_lines = (curve) => [
    { label: curve.name, data: points(curve, 1), borderColor: colour(curve.name), backgroundColor: colour(curve.name),
      borderWidth: 2, pointRadius: 3, clip: false },
  ];

  function line_chart(canvas, { title, x_title, lines }) {
    const datasets = lines();
    const labels = new Set(datasets.map((line) => line.label));
    const grid = { color: css("--line"), borderColor: css("--line") };
    const x = {
      type: "linear", min: 0, max: Math.max(...datasets.flatMap((line) => line.data.map((point) => point.x))), grid,
      title: { display: true, text: x_title },
      ticks: { maxTicksLimit: 7, maxRotation: 0, precision: 0, includeBounds: false },
    };
    const y = { type: "linear", grid, ticks: { maxTicksLimit: 7 } };
    Chart.defaults.color = css("--muted");
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    return new Chart(canvas, {
      type: "line",
      data: { datasets },
      options: {
        animation: false, responsive: true, maintainAspectRatio: false, parsing: false,
        interaction: { mode: "nearest", axis: "x", intersect: false },
        scales: { x, y },
        plugins: {
          title: { display: true, text: title, align: "start", font: { weight: "600" } },
          legend: {
            display: labels.size > 1, align: "start",
            labels: { boxWidth: 18, boxHeight: 1, filter: (item, data) => !data.datasets[item.datasetIndex].faint },
            onClick: (event, item, legend) => {  // both lines of a loss at once
              const visible = legend.chart.isDatasetVisible(item.datasetIndex);
              datasets.forEach((line, i) => line.label === item.text && legend.chart.setDatasetVisibility(i, !visible));
              legend.chart.update();
            },
          },
          tooltip: {
            filter: (item) => !item.dataset.faint,
            callbacks: {
              title: (items) => items.length ? `${x_title} ${items[0].parsed.x}` : "",
              label: (item) => ` ${item.dataset.label}: ${item.parsed.y.toPrecision(4)}`,
            },
          },
        },
      },
    });
  }

  const chart_makers = [];
  let charts = [];
  function draw_charts() {  // again whenever light turns dark
    charts.forEach((chart) => chart.destroy());
    charts = chart_makers.map((make) => make());
  }
  function chart_place(content) {
    const canvas = element("canvas", { role: "img", "aria-label": content.title });
    chart_makers.push(() => line_chart(canvas, content));
    return element("div", { class: "chart" }, canvas);
  }

  // ---- figures

  function scale_of(cells) {
    const low = Math.min(...cells.map((cell) => cell[1])), high = Math.max(...cells.map((cell) => cell[2]));
    return { low, high, at: (x) => `${(100 * (x - low)) / (high - low || 1)}%`, size: (x) => `${(100 * x) / (high - low || 1)}%` };
  }

  function figure_cell(cell, best, scale, label, leads) {
    const [value, low, high] = cell;
    const part = (name, from, to) => element("i", { class: name, "--from": scale.at(from), "--size": scale.size(to - from) });
    return element("td", { "data-label": label, class: leads ? "leads" : "" },
      element("div", { class: "value" }, element("span", {}, value.toFixed(4)),
        element("small", {}, low < high ? `${low.toFixed(4)} – ${high.toFixed(4)}` : "")),
      element("div", { class: "track" }, part("band", best[1], best[2]), part("interval", low, high), part("notch", value, value)));
  }

  function figures(table) {
    const columns = table.columns.map(({ name, best }, c) => {
      const cells = table.rows.map((row) => row.cells[c]);
      return { label: name, scale: scale_of(cells), best: cells[table.best], lead: cells[best][0] };
    });
    const heading = columns.map(({ label, scale }) => element("th", { scope: "col" }, label,
      element("div", { class: "ends" }, element("span", {}, scale.low.toFixed(3)), element("span", {}, scale.high.toFixed(3)))));
    const rows = table.rows.map((row, r) => element("tr", { class: r === table.best ? "best" : "" },
      element("th", { scope: "row" }, row.name, element("span", { class: "remark" }, row.remark)),
      ...columns.map((column, c) =>
        figure_cell(row.cells[c], column.best, column.scale, column.label, row.cells[c][0] === column.lead))));
    return element("div", { class: "figures" }, element("h3", {}, table.title),
      element("table", {}, element("thead", {}, element("tr", {}, element("th", {}), ...heading)), element("tbody", {}, ...rows)));
  }

  // ---- people

  // The eye tells small weights from nothing only on a scale by square root; the legend shows it.
  const weight = (x) => ({ "--weight": Math.sqrt(x).toFixed(3) });

  function heat_map(person) {
    const events = person.history.length;
    const grid = element("div", { class: "heat", "--events": events, role: "img", "aria-label": "attention over the history" });
    const readout = element("p", { class: "readout", "aria-live": "polite" });
    const labels = person.history.map((title, i) =>
      element("span", { title, style: `grid-row: ${i + 1}` }, element("b", {}, String(i + 1)), title));
    const sentence = (row, column) => {
      const from = `After ${row + 1}. ${person.history[row]}`, to = `${column + 1}. ${person.history[column]}`;
      return `${from}: ${percent(person.attention[row][column])} of the attention on ${row === column ? "itself" : to}`;
    };
    person.attention.forEach((weights, row) => {
      grid.append(labels[row]);
      weights.forEach((x, column) => {
        const cell = element("i", { title: sentence(row, column), style: `grid-area: ${row + 1} / ${column + 2}`, ...weight(x) });
        cell.addEventListener("pointerenter", () => show(row, column));
        grid.append(cell);
      });
    });
    for (let i = 0; i < events; ++i) {
      if (i > 0 && (i + 1) % 5 !== 0) continue;  // more numbers than these would run into each other on a phone
      grid.append(element("em", { style: `grid-area: ${events + 1} / ${i + 2}` }, String(i + 1)));
    }
    function show(row, column) {
      labels.forEach((label, i) => label.classList.toggle("lit", i === row || i === column));
      readout.textContent = sentence(row, column);
    }
    const last = person.attention[events - 1];
    readout.textContent = `For example, the bottom row. ${sentence(events - 1, last.indexOf(Math.max(...last)))}`;
    const legend = [0, 0.02, 0.1, 0.25, 0.5, 1].map((x) => element("span", {}, element("i", weight(x)), `${100 * x}%`));
    return [grid, readout, element("div", { class: "legend" }, "attention", ...legend)];
  }

  function bar(kind, text, from, size, against) {
    return element("div", { class: "bar" },
      element("div", { class: kind }, element("i", { class: against ? "against" : "", "--from": `${from}%`, "--size": `${size}%` })),
      element("span", {}, text));
  }

  function recommendation(entry, place, person, largest) {
    const reasons = entry.reasons.map((reason) => {
      const length = (50 * Math.abs(reason.effect)) / largest;
      return element("div", { class: "reason" }, element("span", { title: reason.title }, reason.title),
        bar("", `${Math.round(100 * reason.attention)}%`, 0, 100 * reason.attention, false),
        bar("signed", signed(reason.effect), reason.effect < 0 ? 50 - length : 50, length, reason.effect < 0));
    });
    const heading = element("div", { class: "reason heading" }, ...["event", "attention", "effect"].map((t) => element("span", {}, t)));
    const met = entry.title === person.next ? [element("div", { class: "met" }, "✓ what they met next in fact")] : [];
    return element("li", {},
      element("div", { class: "name" }, element("strong", {}, `${place}. ${entry.title}`),
        element("small", {}, `score ${entry.score.toFixed(2)}`)),
      ...met, element("p", { class: "why" }, entry.why), ...(reasons.length ? [heading, ...reasons] : []));
  }

  function person_view(person) {
    const list = person.recommendations;
    const largest = Math.max(1e-9, ...list.flatMap((entry) => entry.reasons.map((reason) => Math.abs(reason.effect))));
    const missed = person.next !== "" && !list.some((entry) => entry.title === person.next);
    return element("article", { class: "person" }, element("h3", {}, person.name),
      ...(person.history.length ? heat_map(person) : []),
      ...(list.length ? [element("h3", {}, "Recommended, and why")] : []),
      element("ol", {}, ...list.map((entry, i) => recommendation(entry, i + 1, person, largest))),
      ...(missed ? [element("p", { class: "hint" }, `What they met next in fact, and the list lacks: ${person.next}`)] : []));
  }

  document.getElementById("title").append(report.title);
  document.getElementById("facts").append(
    ...report.facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  place("quality", report.tables.map(figures));
  const columns = new Set(report.tables.flatMap((table) => table.columns.map((column) => column.name)));
  for (const text of document.querySelectorAll("[data-about]")) {
    if (!columns.has(text.dataset.about)) text.remove();
  }
  place("training", report.losses.length === 0 ? []
    : [chart_place({ title: "training loss", x_title: "step", lines: () => report.losses.flatMap(loss_lines) })]);
  place("validation", report.validations.length === 0 ? [] : [element("div", { class: "charts" },
    ...report.validations.map(({ metric, curves }) =>
      chart_place({ title: metric, x_title: "epoch", lines: () => curves.flatMap(validation_lines) })))]);
  place("people", report.people.map(person_view));
  draw_charts();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw_charts);
})();
