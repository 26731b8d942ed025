// One app: what it does, how well, for whom, and what it costs.

import { h } from "../dom.js";
import { language, t, title } from "../catalogue.js";
import { question } from "../ask.js";
import { ago, instant } from "../numbers.js";
import { covered, fault, link, notes, tile, word } from "../parts.js";
import { table } from "../table.js";
import { MEASURES, charts, tiles } from "./overview.js";

export const heading = "view_app";

const ABOUT = ["app_name", "app_mode", "workspace_id", "origin", "is_published", "is_deleted"];

export function requests(state, { since, until, grain }) {
  const about = { since, until, tz: state.tz, where: [`app_id:${state.id}`] };
  const measures = MEASURES.filter((name) => name !== "requests" && name !== "active_apps");
  return {
    about: question("query", { measure: "apps_seen,app_created,app_updated", by: ABOUT.join(), where: about.where }),
    head: question("query", { measure: ["requests", ...measures].join(), grain, ...about, fill: "zero", totals: true, compare: "previous" }),
    cost: question("query", { measure: "cost", grain, ...about, fill: "zero", totals: true, compare: "previous" }),
    liked: question("query", { measure: "satisfaction,ratings", ...about, compare: "previous" }),
    models: question("metering/models", { ...about, limit: 10 }),
    errors: question("query", { measure: "failed_invocations", by: "error_class", ...about, order: "-failed_invocations" }),
    people: question("business/users", { ...about, limit: 10 }),
  };
}

export function render(state, { about, head, cost, liked, models, errors, people }, period) {
  if (head.error) return fault(head.error);
  const row = about.answer?.rows[0];
  if (about.answer && !row) return [back(state), h("p", { class: "card empty" }, t("no_such_app"))];
  return [
    back(state),
    row ? facts(state, row) : null,
    covered(head.answer, state),
    tiles(head.answer, cost, null, ["satisfaction", "ratings"].map((name) => opinion(name, liked))),
    head.answer ? charts(state, period, head.answer, cost.answer) : null,
    h("div", { class: "beside" }, byModel(state, models), byError(state, errors)),
    byUser(state, people),
    notes([head.answer, cost.answer, models.answer]),
  ];
}

/** The name of the app, where it is known. */
export function named(state, { about }) {
  return about?.answer?.rows[0]?.app_name || null;
}

function opinion(name, { answer, error }) {
  return tile({ name, row: answer || error ? (answer?.rows[0] ?? null) : undefined, flags: answer?.flags });
}

function back(state) {
  return h("p", { class: "back" }, link(state, { view: "apps" }, `← ${t("all_apps")}`));
}

function facts(state, row) {
  const lang = language();
  const told = [
    [title("app_mode"), word("mode", row.app_mode)],
    [title("is_published"), row.is_published === null ? "–" : t(row.is_published ? "yes" : "no")],
    [title("app_created"), instant(row.app_created, lang, state.tz)],
    [title("app_updated"), row.app_updated ? ago(row.app_updated, lang) : "–"],
    [title("origin"), row.origin || "–"],
    [title("app_id"), h("code", {}, state.id)],
  ];
  return [
    row.is_deleted ? h("p", { class: "banner" }, t("app_deleted")) : null,
    h("dl", { class: "facts" }, told.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
  ];
}

function byModel(state, { answer, error }) {
  if (error) return fault(error, t("its_models"));
  const costs = Object.keys(answer?.units || {}).filter((name) => name.startsWith("cost_"));
  return table({
    key: "its-models",
    caption: t("its_models"),
    columns: [
      { name: "model_name", isHead: true, cell: (row) => row.model_name || t("no_model") },
      ...["model_calls", "tokens", "model_call_latency_p95", ...costs].map((name) => ({ name })),
    ],
    rows: answer?.rows || [],
    flags: answer?.flags,
    tz: state.tz,
    empty: answer ? t("no_models") : t("loading"),
  });
}

function byError(state, { answer, error }) {
  if (error) return fault(error, t("its_errors"));
  const rows = (answer?.rows || []).filter((row) => row.failed_invocations > 0);
  return table({
    key: "its-errors",
    caption: t("its_errors"),
    columns: [
      { name: "error_class", isHead: true, cell: (row) => word("error", row.error_class || "unknown") },
      { name: "failed_invocations" },
    ],
    rows,
    tz: state.tz,
    empty: answer ? t("no_errors") : t("loading"),
  });
}

function byUser(state, { answer, error }) {
  if (error) return fault(error, t("its_users"));
  return table({
    key: "its-users",
    caption: t("its_users"),
    columns: [
      { name: "user_name", isHead: true, cell: (row) => row.user_name || row.user_id || t("no_user") },
      { name: "user_kind", isText: true, cell: (row) => word("user", row.user_kind) },
      ...["invocations", "messages", "conversations", "tokens"].map((name) => ({ name })),
      { name: "last_seen", isText: true, cell: (row) => ago(row.last_seen, language()) },
    ],
    rows: answer?.rows || [],
    tz: state.tz,
    empty: answer ? t("no_users") : t("loading"),
  });
}
