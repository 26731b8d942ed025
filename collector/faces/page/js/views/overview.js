// What an operator sees first: how much, how well, how fast, who, what it costs, and what waits.

import { h } from "../dom.js";
import { help, language, t, title, unit } from "../catalogue.js";
import { chart } from "../chart.js";
import { written, ago } from "../numbers.js";
import { question } from "../ask.js";
import { appLink, covered, fault, link, notes, steps, tile } from "../parts.js";
import { table } from "../table.js";

export const heading = "view_overview";

export const MEASURES = [
  ...["requests", "invocations", "failed_invocations", "invocation_failure_ratio", "runs", "messages"],
  ...["tokens", "input_tokens", "output_tokens", "active_users", "active_apps"],
  ...["response_time_p50", "response_time_p95", "run_elapsed_p50", "run_elapsed_p95"],
];
const QUEUES = ["queue_messages", "queue_ready", "queue_unacked", "queue_oldest_message"];
const TOP = 8;

export function requests(state, { since, until, grain }) {
  const about = { since, until, tz: state.tz };
  return {
    head: question("query", { measure: MEASURES.join(), grain, ...about, fill: "zero", totals: true, compare: "previous" }),
    cost: question("query", { measure: "cost", grain, ...about, fill: "zero", totals: true, compare: "previous" }),
    apps: question("apps", { ...about, limit: TOP }),
    queues: question("query", { measure: QUEUES.join(), by: "broker,queue", since: "24h", totals: true, order: "-queue_messages" }),
  };
}

export function render(state, { head, cost, apps, queues, sources }, period) {
  if (head.error) return fault(head.error);
  return [
    covered(head.answer, state),
    sources.answer ? health(state, sources.answer.sources) : null,
    tiles(head.answer, cost, queues),
    head.answer ? charts(state, period, head.answer, cost.answer) : null,
    h("div", { class: "beside" }, topApps(state, apps), waiting(state, queues)),
    notes([head.answer, cost.answer]),
  ];
}

function health(state, sources) {
  const red = sources.filter((each) => ["down", "refused"].includes(each.state));
  if (!red.length) return null;
  return h(
    "p",
    { class: "banner bad", role: "status" },
    t("sources_red", { names: red.map((each) => `${each.name} (${t(`way_${each.way}`)})`).join(", ") }),
    " ",
    link(state, { view: "sources" }, t("what_to_do")),
  );
}

/** The tiles; `queues` null: of one app, which waits in no queue of its own. `more`: others behind them. */
export function tiles(answer, cost, queues, more = []) {
  const row = answer ? (answer.totals[0] ?? null) : undefined;
  const flags = answer?.flags;
  const of = answer ? steps(answer).of : () => null;
  const plain = (name, more) => tile({ name, row, flags, steps: of(name), more });
  const median = (name) => (row && row[name] !== null ? t("median", { value: written(row[name], unit(name), language()) }) : null);
  return h(
    "section",
    { class: "tiles", "aria-label": t("numbers") },
    plain("requests"),
    plain("runs"),
    plain("tokens"),
    ...costs(cost),
    plain("invocation_failure_ratio"),
    plain("active_users"),
    plain("response_time_p95", median("response_time_p50")),
    plain("run_elapsed_p95", median("run_elapsed_p50")),
    plain("messages"),
    queues ? plain("active_apps") : null,
    queues ? backlog(queues) : null,
    more,
  );
}

/** A tile of cost for each currency: two are never added. */
export function costs(cost) {
  if (cost.error) return [];
  if (!cost.answer) return [tile({ name: "cost", row: undefined })];
  const told = cost.answer.totals.filter((row) => row.currency);
  if (!told.length) return [tile({ name: "cost", row: null })];
  return told.map((row) => {
    const of = steps(cost.answer, (each) => each.currency === row.currency).of;
    return tile({ name: "cost", row, flags: cost.answer.flags, steps: of("cost"), currency: row.currency, heading: `${title("cost")} ${row.currency}` });
  });
}

function backlog(queues) {
  if (queues.error) return null;
  const row = queues.answer ? (queues.answer.totals[0] ?? null) : undefined;
  const note = row === undefined || (row && row.queue_messages !== null) ? t("now") : t("no_broker");
  return tile({ name: "queue_messages", row, note });
}

export function charts(state, { grain }, answer, cost) {
  const { times, of } = steps(answer);
  const both = { times, grain, tz: state.tz };
  const calls = of("invocations");
  const failed = of("failed_invocations");
  return h(
    "section",
    { class: "charts", "aria-label": t("over_time") },
    chart({ ...both, key: "calls", heading: title("invocations"), unit: "calls", isStacked: true, series: [
      { label: title("failed_invocations"), values: failed, colour: 5, kind: "bars" },
      { label: t("not_failed"), values: calls.map((all, at) => (all === null ? null : all - (failed[at] || 0))), colour: 1, kind: "bars" },
      { label: t("period_before"), values: of("invocations_before"), colour: 6, kind: "line", isQuiet: true },
    ] }),
    chart({ ...both, key: "tokens", heading: title("tokens"), unit: "tokens", isStacked: true, series: [
      { label: title("output_tokens"), values: of("output_tokens"), colour: 2, kind: "bars" },
      { label: title("input_tokens"), values: of("input_tokens"), colour: 1, kind: "bars" },
      { label: t("period_before"), values: of("tokens_before"), colour: 6, kind: "line", isQuiet: true },
    ] }),
    chart({ ...both, key: "times", heading: t("times"), unit: "seconds", series: [
      { label: title("response_time_p95"), values: of("response_time_p95"), colour: 2, kind: "line" },
      { label: title("response_time_p50"), values: of("response_time_p50"), colour: 1, kind: "line" },
      { label: title("run_elapsed_p95"), values: of("run_elapsed_p95"), colour: 4, kind: "line" },
    ] }),
    chart({ ...both, key: "users", heading: title("active_users"), unit: "users", series: [
      { label: title("active_users"), values: of("active_users"), colour: 3, kind: "bars" },
      { label: t("period_before"), values: of("active_users_before"), colour: 6, kind: "line", isQuiet: true },
    ] }),
    ...(cost ? costCharts(state, grain, cost) : []),
  );
}

/** A chart of cost for each currency. */
export function costCharts(state, grain, cost) {
  const currencies = [...new Set(cost.rows.map((row) => row.currency).filter(Boolean))];
  return currencies.map((currency) => {
    const { times, of } = steps(cost, (row) => row.currency === currency);
    return chart({ key: `cost-${currency}`, heading: `${title("cost")} ${currency}`, times, grain, tz: state.tz, unit: "currency", currency, series: [
      { label: title("cost"), values: of("cost"), colour: 4, kind: "bars" },
      { label: t("period_before"), values: of("cost_before"), colour: 6, kind: "line", isQuiet: true },
    ] });
  });
}

function topApps(state, apps) {
  if (apps.error) return fault(apps.error, t("top_apps"));
  return table({
    key: "top-apps",
    caption: t("top_apps"),
    columns: [
      { name: "app_name", isHead: true, cell: (row) => appLink(state, row) },
      ...["invocations", "active_users", "tokens", "invocation_failure_ratio"].map((name) => ({ name })),
    ],
    rows: apps.answer?.rows || [],
    flags: apps.answer?.flags,
    tz: state.tz,
    empty: apps.answer ? t("no_apps") : t("loading"),
  });
}

function waiting(state, queues) {
  if (queues.error) return fault(queues.error, title("queue_messages"));
  const rows = (queues.answer?.rows || []).filter((row) => row.queue).slice(0, TOP);
  return table({
    key: "queues",
    caption: t("queues_now"),
    columns: [
      { name: "queue", isHead: true, cell: (row) => h("span", { title: row.broker }, row.queue) },
      ...["queue_ready", "queue_unacked"].map((name) => ({ name })),
      { name: "queue_oldest_message", heading: t("oldest"), isText: true, cell: (row) => h("span", { title: help("queue_oldest_message") }, ago(row.queue_oldest_message, language())) },
    ],
    rows,
    tz: state.tz,
    empty: queues.answer ? t("no_queues") : t("loading"),
  });
}
