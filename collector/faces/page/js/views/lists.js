// The long lists: apps, users, models and knowledge bases, each a resource of REST, sorted, searched and paged by it.

import { h } from "../dom.js";
import { language, t, title, unit } from "../catalogue.js";
import { chart } from "../chart.js";
import { question } from "../ask.js";
import { ago, instant } from "../numbers.js";
import { appLink, covered, fault, notes, steps, tile, word } from "../parts.js";
import { paged, paging, searching, table } from "../table.js";
import { go } from "../state.js";
import { costCharts, costs } from "./overview.js";

const LENGTH = 25;

/** The question of a list: the page that is looked at, in the order and with the words that were chosen. */
function listed(path, state, { since, until }, order) {
  const asked = { since, until, tz: state.tz, search: state.q, order: state.order || order };
  const cursors = paging(path, asked);
  return question(path, { ...asked, limit: LENGTH, cursor: cursors.at(-1) });
}

/** The table of a list. */
function list(path, state, period, { answer, error }, { caption, columns, order, empty }, again) {
  if (error) return fault(error, caption);
  const asked = { since: period.since, until: period.until, tz: state.tz, search: state.q, order: state.order || order };
  const cursors = paging(path, asked);
  return table({
    key: path,
    caption,
    columns: answer ? [...columns, ...money(answer)] : columns,
    rows: answer?.rows || [],
    order: state.order || order,
    onOrder: (column) => go({ order: column }, { replace: true }),
    flags: answer?.flags,
    tz: state.tz,
    empty: answer ? (state.q ? t("nothing_found", { q: state.q }) : empty) : t("loading"),
    page: answer ? paged(answer, cursors, LENGTH, again) : null,
  });
}

/** A column for each currency in which something was spent. */
function money(answer) {
  return Object.keys(answer.units).filter((name) => /^cost_[a-z]{3}$/.test(name)).map((name) => ({ name }));
}

function seenAgo(name) {
  return (state) => ({ name, isText: true, cell: (row) => h("span", { title: instant(row[name], language(), state.tz) }, ago(row[name], language())) });
}

export const apps = {
  heading: "view_apps",
  requests: (state, period) => ({ list: listed("apps", state, period, "-invocations") }),
  render: (state, { list: found }, period, again) => [
    covered(found.answer, state),
    searching(state, go, t("search_apps")),
    list("apps", state, period, found, {
      caption: t("view_apps"),
      order: "-invocations",
      empty: t("no_apps"),
      columns: [
        { name: "app_name", isHead: true, cell: (row) => appLink(state, row) },
        { name: "app_mode", isText: true, cell: (row) => word("mode", row.app_mode) },
        ...["invocations", "messages", "active_users", "tokens", "invocation_failure_ratio", "satisfaction"].map((name) => ({ name })),
        seenAgo("last_seen")(state),
      ],
    }, again),
    notes([found.answer]),
  ],
};

const PEOPLE = ["active_users", "conversations", "messages", "messages_per_conversation", "satisfaction", "likes", "dislikes"];

export const users = {
  heading: "view_users",
  requests: (state, period) => ({
    list: listed("business/users", state, period, "-invocations"),
    head: question("query", { measure: PEOPLE.join(), grain: period.grain, since: period.since, until: period.until, tz: state.tz, fill: "zero", totals: true, compare: "previous" }),
  }),
  render: (state, { list: found, head }, period, again) => [
    covered(head.answer, state),
    head.error ? fault(head.error) : tilesOf(["active_users", "conversations", "messages", "messages_per_conversation", "satisfaction"], head.answer),
    head.answer ? h("section", { class: "charts", "aria-label": t("over_time") }, overTime(state, period, head.answer, "active_users", 3), ratings(state, period, head.answer)) : null,
    searching(state, go, t("search_users")),
    list("business/users", state, period, found, {
      caption: t("view_users"),
      order: "-invocations",
      columns: [
        { name: "rank", heading: "#", isSortable: false, cell: (row) => row.rank },
        { name: "user_name", isHead: true, cell: (row) => row.user_name || row.user_id || t("no_user") },
        { name: "user_kind", isText: true, cell: (row) => word("user", row.user_kind) },
        ...["invocations", "messages", "conversations", "tokens", "active_apps", "active_days"].map((name) => ({ name })),
        seenAgo("last_seen")(state),
      ],
    }, again),
    notes([head.answer, found.answer]),
  ],
};

export const models = {
  heading: "view_models",
  requests: (state, period) => {
    const about = { since: period.since, until: period.until, tz: state.tz };
    return {
      list: listed("metering/models", state, period, "-tokens"),
      cost: question("query", { measure: "cost", grain: period.grain, ...about, fill: "zero", totals: true, compare: "previous" }),
      head: question("query", { measure: "model_calls,failed_model_calls,model_call_failure_ratio,tokens,cached_input_tokens,unpriced_tokens,output_speed", grain: period.grain, ...about, fill: "zero", totals: true, compare: "previous" }),
      share: question("query", { measure: "tokens", by: "model_name", grain: period.grain, ...about, fill: "zero", top: 5, other: true }),
    };
  },
  render: (state, { list: found, cost, head, share }, period, again) => [
    covered(head.answer, state),
    head.error ? fault(head.error) : tilesOf(["tokens", "model_calls", "model_call_failure_ratio", "output_speed", "cached_input_tokens", "unpriced_tokens"], head.answer, costs(cost)),
    h("section", { class: "charts", "aria-label": t("over_time") },
      share.answer ? byModel(state, period, share.answer) : null,
      cost.answer ? costCharts(state, period.grain, cost.answer) : null),
    searching(state, go, t("search_models")),
    list("metering/models", state, period, found, {
      caption: t("view_models"),
      order: "-tokens",
      columns: [
        { name: "model_name", isHead: true, cell: (row) => row.model_name || t("no_model") },
        { name: "model_provider", isText: true, cell: (row) => (row.model_provider || "").split("/").at(-1) || "–" },
        ...["model_calls", "model_call_failure_ratio", "input_tokens", "output_tokens", "unpriced_tokens"].map((name) => ({ name })),
        ...["model_call_latency_p95", "time_to_first_token_p50", "output_speed"].map((name) => ({ name })),
      ],
    }, again),
    notes([head.answer, cost.answer, found.answer]),
  ],
};

const STOCK = ["datasets", "knowledge_documents", "knowledge_segments", "knowledge_waiting_documents", "knowledge_failed_documents"];

export const knowledge = {
  heading: "view_knowledge",
  requests: (state, period) => {
    const about = { since: period.since, until: period.until, tz: state.tz };
    return {
      list: listed("metering/datasets", state, period, "-retrievals"),
      stock: question("query", { measure: STOCK.join(), ...about }),
      head: question("query", { measure: "retrievals", grain: period.grain, ...about, fill: "zero", totals: true, compare: "previous" }),
    };
  },
  render: (state, { list: found, stock, head }, period, again) => [
    covered(head.answer, state),
    tilesOf(["retrievals"], head.answer, STOCK.map((name) => inStock(name, stock))),
    head.answer ? h("section", { class: "charts one", "aria-label": t("over_time") }, overTime(state, period, head.answer, "retrievals", 3)) : null,
    searching(state, go, t("search_datasets")),
    list("metering/datasets", state, period, found, {
      caption: t("view_knowledge"),
      order: "-retrievals",
      empty: t("no_datasets"),
      columns: [
        { name: "dataset_name", isHead: true, cell: (row) => row.dataset_name || row.dataset_id || "–" },
        ...["retrievals", "knowledge_hits", "knowledge_apps", "knowledge_documents", "knowledge_available_documents"].map((name) => ({ name })),
        ...["knowledge_waiting_documents", "knowledge_failed_documents", "knowledge_segments", "knowledge_characters"].map((name) => ({ name })),
      ],
    }, again),
    notes([head.answer, found.answer]),
  ],
};

/** The tiles of an answer's totals, and others behind them. */
export function tilesOf(names, answer, more = []) {
  const row = answer ? (answer.totals[0] ?? null) : undefined;
  const of = answer ? steps(answer).of : () => null;
  const found = names.map((name) => tile({ name, row, flags: answer?.flags, steps: of(name) }));
  return h("section", { class: "tiles", "aria-label": t("numbers") }, found, more);
}

function inStock(name, { answer, error }) {
  const row = answer || error ? (answer?.rows[0] ?? null) : undefined;
  return tile({ name, row, flags: answer?.flags, note: t("now") });
}

function overTime(state, { grain }, answer, name, colour) {
  const { times, of } = steps(answer);
  return chart({ key: name, heading: title(name), unit: unit(name), times, grain, tz: state.tz, series: [
    { label: title(name), values: of(name), colour, kind: "bars" },
    { label: t("period_before"), values: of(`${name}_before`), colour: 6, kind: "line", isQuiet: true },
  ] });
}

function ratings(state, { grain }, answer) {
  const { times, of } = steps(answer);
  return chart({ key: "ratings", heading: title("ratings"), unit: "ratings", times, grain, tz: state.tz, isStacked: true, series: [
    { label: title("dislikes"), values: of("dislikes"), colour: 5, kind: "bars" },
    { label: title("likes"), values: of("likes"), colour: 3, kind: "bars" },
  ] });
}

function byModel(state, { grain }, answer) {
  const names = [...new Set(answer.rows.map((row) => row.model_name))];
  const together = names.reduce((sums, name) => ({ ...sums, [name]: answer.rows.filter((row) => row.model_name === name).reduce((sum, row) => sum + (row.tokens || 0), 0) }), {});
  names.sort((one, other) => together[other] - together[one]);
  const times = [...new Set([...answer.rows, ...answer.other].map((row) => row.time))].sort((one, other) => Date.parse(one) - Date.parse(other));
  const byTime = (rows) => times.map((time) => rows.find((row) => row.time === time)?.tokens ?? null);
  const series = names.map((name, at) => ({ label: name || t("no_model"), values: byTime(answer.rows.filter((row) => row.model_name === name)), colour: at + 1, kind: "bars" }));
  if (answer.other.length) series.push({ label: t("others"), values: byTime(answer.other), colour: 6, kind: "bars" });
  return chart({ key: "by-model", heading: t("tokens_by_model"), unit: "tokens", times: times.map((time) => Date.parse(time) / 1000), grain, tz: state.tz, isStacked: true, series });
}
