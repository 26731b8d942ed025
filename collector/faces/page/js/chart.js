// Charts over time: uPlot draws them, a legend says what is under the pointer, a table says the same to everyone else.

import { h, svg } from "./dom.js";
import { language, t } from "./catalogue.js";
import { step, written } from "./numbers.js";

const HEIGHT = 210;
const LABEL = 62; // pixels of the name of a step

/** A chart in a figure.
 *
 * `times`: epoch seconds of the steps; `series`: [{label, values, colour (1-6), kind: bars|line, isQuiet}], values null
 * where nothing is known; `isStacked`: bars stand on one another. All values have one unit, or one currency.
 */
export function chart({ key, heading, note, times, series, unit, currency, grain, tz, isStacked = false }) {
  const lang = language();
  const spec = { times, series, unit, currency, grain, tz, isStacked, lang };
  const hasNumbers = series.some((one) => one.values.some((value) => value));
  return h(
    "figure",
    { class: "card chart", "data-key": key },
    h("figcaption", {}, h("h2", {}, heading), note ? h("p", { class: "quiet" }, note) : null),
    hasNumbers
      ? [
          h("div", { class: "plot", "data-own": "", role: "img", "aria-label": described(heading, spec), hook: (at) => draw(at, spec) }),
          h("ul", { class: "legend", "data-own": "", "aria-hidden": "true", hook: (at) => legend(at, spec, pointed(at)) }),
          alternative(heading, spec),
        ]
      : h("p", { class: "empty" }, t("no_numbers")),
  );
}

function said(spec, value) {
  return written(value, spec.unit, spec.lang, { currency: spec.currency });
}

function described(heading, spec) {
  const last = spec.series.filter((one) => !one.isQuiet).map((one) => {
    const known = one.values.filter((value) => value !== null);
    return `${one.label} ${known.length ? said(spec, Math.max(...known)) : "–"}`;
  });
  return `${heading}. ${t("chart_peaks")} ${last.join(", ")}. ${t("chart_table_below")}`;
}

function alternative(heading, spec) {
  const head = [t("step"), ...spec.series.map((one) => one.label)];
  const rows = spec.times.map((time, at) => [
    step(time, spec.grain, spec.lang, spec.tz, true),
    ...spec.series.map((one) => said(spec, one.values[at] ?? null)),
  ]);
  return h(
    "details",
    { class: "alternative" },
    h("summary", {}, t("as_table")),
    h(
      "div",
      { class: "scroller", tabindex: "0", role: "region", "aria-label": heading },
      h(
        "table",
        {},
        h("caption", { class: "unseen" }, heading),
        h("thead", {}, h("tr", {}, head.map((cell, at) => h("th", { scope: "col", class: at ? "number" : null }, cell)))),
        h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, at) => (at ? h("td", { class: "number" }, cell) : h("th", { scope: "row" }, cell)))))),
      ),
    ),
  );
}

/** The step under the pointer of the chart that a legend belongs to; null: none. */
function pointed(place) {
  const plot = place.parentElement.querySelector(".plot")?.$plot;
  return plot && plot.cursor.left >= 0 ? (plot.cursor.idx ?? null) : null;
}

function legend(place, spec, at = null) {
  const items = spec.series.map((one) =>
    h(
      "li",
      {},
      h("span", { class: `swatch colour-${one.colour}${one.isQuiet ? " dashed" : ""}` }),
      h("span", {}, one.label),
      at === null ? null : h("b", {}, said(spec, one.values[at] ?? null)),
    ),
  );
  if (at !== null) items.unshift(h("li", { class: "quiet" }, step(spec.times[at], spec.grain, spec.lang, spec.tz, true)));
  place.replaceChildren(...items);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw(place, spec) {
  const theme = `${colour("--text")} ${spec.lang} ${spec.tz} ${spec.grain} ${spec.unit} ${spec.currency} ${spec.isStacked} `;
  const shape = theme + spec.series.map((one) => `${one.kind}${one.colour}${one.isQuiet}`).join();
  const data = [spec.times, ...spec.series.map((one, at) => heights(spec, one, at))];
  place.$spec = spec;
  if (place.$plot && place.$shape === shape) {
    if (JSON.stringify(place.$data) !== JSON.stringify(data)) place.$plot.setData(data);
    place.$data = data;
    return;
  }
  place.$plot?.destroy();
  place.$seen?.disconnect();
  place.replaceChildren();
  place.$shape = shape;
  place.$data = data;
  place.$plot = new uPlot(options(place, spec), data, place);
  place.$seen = new ResizeObserver(() => {
    const width = place.clientWidth;
    if (width && width !== place.$plot.width) place.$plot.setSize({ width, height: HEIGHT });
  });
  place.$seen.observe(place);
}

/** The upper end of each bar or the line; of stacked bars, what those after it are high is added. */
function heights(spec, one, at) {
  if (!spec.isStacked || one.kind !== "bars") return one.values.map((value) => (value === null ? null : Number(value)));
  const under = spec.series.slice(at + 1).filter((other) => other.kind === "bars");
  return one.values.map((value, step) =>
    value === null ? null : under.reduce((sum, other) => sum + (Number(other.values[step]) || 0), Number(value)),
  );
}

function options(place, spec) {
  const [text, line] = [colour("--muted"), colour("--line")];
  const font = "12px system-ui, sans-serif";
  const bars = uPlot.paths.bars({ size: [0.72, 40], radius: 0.12 });
  const drawn = spec.series.map((one) => {
    const ink = colour(`--series-${one.colour}`);
    if (one.kind === "bars") return { stroke: ink, fill: ink, width: 0, paths: bars, points: { show: false } };
    const isShort = spec.times.length < 40 && !one.isQuiet;
    return { stroke: ink, width: one.isQuiet ? 1.5 : 2, dash: one.isQuiet ? [4, 4] : undefined, points: { show: isShort, size: 5, fill: ink } };
  });
  const axis = { stroke: text, font, ticks: { show: false }, grid: { stroke: line, width: 1 } };
  const hasBars = spec.series.some((one) => one.kind === "bars");
  const half = spec.times.length > 1 ? (spec.times[1] - spec.times[0]) / 2 : 1800;
  return {
    width: place.clientWidth || 300,
    height: HEIGHT,
    padding: [8, 26, 0, 0],
    legend: { show: false },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), spec.tz),
    cursor: { y: false, drag: { x: false, y: false }, points: { show: !hasBars } },
    scales: {
      x: { range: (_, low, high) => (hasBars ? [low - half, high + half] : [low, high === low ? low + 1 : high]) },
      y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 30, space: 64, splits: spec.times.length <= 8 ? () => spec.times : undefined,
        values: (plot, at) => {
          const every = Math.ceil((at.length * LABEL) / plot.width); // on a phone not every step has room for its name
          return at.map((time, place) => (time === null || place % every ? "" : step(time, spec.grain, spec.lang, spec.tz)));
        } },
      { ...axis, size: 58, space: 38, values: (_, at) => at.map((value) => (value === 0 ? "0" : written(value, spec.unit, spec.lang, { short: true, currency: spec.currency }))) },
    ],
    series: [{}, ...drawn],
    hooks: {
      setCursor: [
        (plot) => {
          const words = place.parentElement?.querySelector(".legend");
          if (words) legend(words, place.$spec, plot.cursor.left < 0 ? null : (plot.cursor.idx ?? null));
        },
      ],
    },
  };
}

/** A line as wide as a tile that shows how it went; nothing for who cannot see it: the number stands beside it. */
export function sparkline(values) {
  const known = values.map((value) => (value === null ? null : Number(value)));
  const top = Math.max(...known.filter((value) => value !== null), 0);
  if (known.length < 2 || !top) return h("div", { class: "spark" });
  const points = known.map((value, at) => [(at / (known.length - 1)) * 100, value === null ? null : 23 - (value / top) * 21]);
  const parts = points.map(([x, y], at) => (y === null ? "" : `${at && points[at - 1][1] !== null ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`));
  return svg(
    "svg",
    { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { d: parts.join("") }),
  );
}
