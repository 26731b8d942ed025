// Where facts come from, and how each source stands: when it last answered, how far it lags, and what to do when it is red.

import { h } from "../dom.js";
import { language, t, title } from "../catalogue.js";
import { Refusal, ask, question } from "../ask.js";
import { UNKNOWN, ago, count, instant, seconds } from "../numbers.js";
import { fault, word } from "../parts.js";
import { table } from "../table.js";

export const heading = "view_sources";

export function requests() {
  return { service: question("service"), aside: question("set-aside") };
}

const SIGNS = { up: "●", starting: "◐", partly: "◐", behind: "◐", down: "✕", refused: "✕" };
let tried = null;

export function render(state, { sources, service, aside }, period, again) {
  if (sources.error) return fault(sources.error, t("sources_hidden"));
  const found = sources.answer?.sources;
  if (!found) return h("p", { class: "card empty" }, t("loading"));
  return [
    service.answer ? h("p", { class: "covered" }, t("collector_is", { version: service.answer.version })) : null,
    found.length ? null : h("p", { class: "banner" }, t("no_sources")),
    h("div", { class: "sources" }, found.map((each) => card(state, each))),
    found.length ? checks(again) : null,
    setAside(state, aside),
  ];
}

/** The colour of a state: good, so-so or bad. */
export function tone(name) {
  return { up: "good", down: "bad", refused: "bad" }[name] || "soso";
}

function card(state, source) {
  const lang = language();
  const remedy = lang === "zh" ? source.remedy_zh : source.remedy;
  const at = (value) => (value ? h("span", { title: instant(value, lang, state.tz) }, ago(value, lang)) : UNKNOWN);
  const told = [
    [t("last_success"), at(source.last_success)],
    [t("complete_until_short"), at(source.complete_until)],
    [t("lag"), source.lag_seconds === null ? UNKNOWN : seconds(source.lag_seconds, lang)],
    [t("every"), source.every_seconds === null ? UNKNOWN : seconds(source.every_seconds, lang)],
    [t("failed_pulls"), t("of_pulls", { failures: count(source.failures, lang), pulls: count(source.pulls, lang) })],
  ];
  return h(
    "section",
    { class: `card source ${tone(source.state)}`, "data-key": `${source.name}-${source.way}`, "aria-label": `${source.name} ${t(`way_${source.way}`)}` },
    h("header", {},
      h("h2", {}, source.way === "tap" ? t("way_tap") : `${source.name} · ${t(`way_${source.way}`)}`),
      h("p", { class: "state", "data-state": source.state }, h("span", { "aria-hidden": "true" }, SIGNS[source.state]), ` ${t(`source_${source.state}`)}`)),
    source.place ? h("p", { class: "quiet place" }, source.place) : null,
    remedy ? h("div", { class: "remedy" }, h("h3", {}, t("what_to_do")), h("p", {}, remedy),
      source.error_class ? h("p", { class: "quiet" }, t("error_is"), " ", h("code", {}, source.error_class)) : null,
      source.problem ? h("p", { class: "quiet" }, source.problem) : null) : null,
    source.way === "tap" ? null : h("dl", { class: "facts" }, told.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    source.streams.length ? streams(source) : null,
  );
}

function streams(source) {
  return h(
    "details",
    { class: "alternative" },
    h("summary", {}, t("last_pass", { streams: source.streams.length })),
    table({
      caption: `${source.name} · ${t("streams")}`,
      columns: [
        { name: "stream", isHead: true, cell: (row) => row.stream },
        { name: "apps", heading: title("apps"), cell: (row) => (row.apps ? count(row.apps, language()) : UNKNOWN) },
        { name: "records", heading: t("records"), cell: (row) => count(row.records, language()) },
        { name: "error_class", heading: t("result"), isText: true, cell: (row) => (row.error_class ? `${word("error", row.error_class)} (${count(row.failed, language())})` : t(row.is_complete ? "complete" : "unfinished")) },
      ],
      rows: source.streams,
    }),
  );
}

function checks(again) {
  const look = async () => {
    tried = { isAsking: true };
    again();
    try {
      tried = { checks: (await ask(question("check"), { method: "POST" })).checks };
    } catch (error) {
      tried = { error: error instanceof Refusal ? error : new Refusal("question", { detail: String(error) }) };
    }
    again();
  };
  return h(
    "section",
    { class: "card", "data-key": "checks", "aria-labelledby": "checks-title" },
    h("h2", { id: "checks-title" }, t("try_sources")),
    h("p", { class: "quiet" }, t("try_sources_help")),
    h("p", {}, h("button", { type: "button", class: "primary", disabled: tried?.isAsking, onclick: look }, tried?.isAsking ? t("trying") : t("try_now"))),
    h("div", { role: "status" }, tried?.error ? fault(tried.error) : tried?.checks ? results(tried.checks) : null),
  );
}

/** What checks said, as a list. */
export function results(found) {
  return h("ul", { class: "results" }, found.map((each) =>
    h("li", { class: each.is_well ? "good" : "bad" }, h("b", {}, `${each.is_well ? "✓" : "✕"} ${each.check}`), ` ${each.result}`)));
}

function setAside(state, { answer, error }) {
  if (error || !answer?.records.length) return null;
  const lang = language();
  return table({
    key: "aside",
    caption: t("set_aside", { number: count(answer.records.length, lang) }),
    columns: [
      { name: "stream", isHead: true, cell: (row) => row.stream },
      { name: "origin", isText: true, cell: (row) => row.origin },
      { name: "key", heading: t("record"), isText: true, cell: (row) => h("code", {}, row.key || UNKNOWN) },
      { name: "problem", heading: t("problem"), isText: true, cell: (row) => row.problem },
      { name: "seen_at", heading: t("tried_at"), isText: true, cell: (row) => ago(row.seen_at, lang) },
    ],
    rows: answer.records.slice(0, 100),
  });
}
