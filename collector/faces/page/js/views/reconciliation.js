// Do our numbers agree with Dify's own? What differs, by how much and why.

import { h } from "../dom.js";
import { language, t } from "../catalogue.js";
import { question } from "../ask.js";
import { count, ratio, written } from "../numbers.js";
import { appLink, fault } from "../parts.js";
import { table } from "../table.js";
import { days } from "../period.js";
import { go } from "../state.js";

export const heading = "view_reconciliation";

const ONLY = ["open", "explained"];
const LENGTH = 50;

export function requests(state) {
  const [since, until] = days(state);
  return { found: question("reconciliation", { since, until, only: only(state) }) };
}

function only(state) {
  return ONLY.includes(state.only) ? state.only : "open";
}

export function render(state, { found }) {
  if (found.error) return fault(found.error);
  const answer = found.answer;
  if (!answer) return h("p", { class: "card empty" }, t("comparing"));
  return [
    h("p", { class: "lead" }, t("reconciliation_lead")),
    verdict(answer.states),
    choice(state, answer.states),
    answer.rows.length || only(state) !== "open" ? differences(state, answer) : null,
    causes(answer.causes),
  ];
}

function verdict({ equal, explained, open }) {
  const lang = language();
  const all = equal + explained + open;
  if (!all) return h("p", { class: "banner" }, t("nothing_to_compare"));
  const words = { equal: count(equal, lang), explained: count(explained, lang), open: count(open, lang), all: count(all, lang) };
  return h("p", { class: open ? "banner bad" : "banner good", role: "status" }, t(open ? "verdict_open" : "verdict_well", words));
}

function choice(state, states) {
  return h(
    "div",
    { class: "tabs", role: "group", "aria-label": t("show_which") },
    ONLY.map((name) => h(
      "button",
      { type: "button", "aria-pressed": String(only(state) === name), onclick: () => go({ only: name, more: "" }, { replace: true }) },
      `${t(`state_${name}`)} · ${count(states[name], language())}`,
    )),
  );
}

function differences(state, answer) {
  const lang = language();
  const shown = Math.max(LENGTH, Number(state.more) || 0);
  const titles = new Map(answer.causes.map((cause) => [cause.name, lang === "zh" ? cause.title_zh : cause.title]));
  const amount = (row, value) => (row.kind === "message_cost" ? written(value, "USD", lang) : count(Number(value), lang));
  const rows = [...answer.rows].sort((one, other) => (one.day < other.day ? 1 : one.day > other.day ? -1 : 0));
  return [
    table({
      key: `differences-${only(state)}`,
      caption: t("differences"),
      columns: [
        { name: "day", heading: t("day"), isHead: true, cell: (row) => row.day },
        { name: "app_name", isText: true, cell: (row) => appLink(state, row) },
        { name: "kind", heading: t("compared_what"), isText: true, cell: (row) => t(`kind_${row.kind}`) },
        { name: "ours", heading: t("ours"), cell: (row) => amount(row, row.ours) },
        { name: "theirs", heading: t("theirs"), cell: (row) => amount(row, row.theirs) },
        { name: "difference", heading: t("difference"), cell: (row) => [amount(row, row.difference), row.share === null ? null : h("span", { class: "quiet" }, ` ${ratio(row.share, lang)}`)] },
        { name: "reasons", heading: t("why"), isText: true, cell: (row) => h("ul", { class: "reasons" }, row.reasons.map((each) => h("li", {}, `${titles.get(each.cause) || each.cause} (${amount(row, each.amount)})`))) },
      ],
      rows: rows.slice(0, shown),
      tz: state.tz,
      empty: t("nothing_explained"),
    }),
    rows.length > shown
      ? h("p", {}, h("button", { type: "button", onclick: () => go({ more: String(shown + 4 * LENGTH) }, { replace: true }) }, t("show_more", { left: count(rows.length - shown, lang) })))
      : null,
  ];
}

function causes(found) {
  if (!found.length) return null;
  const zh = language() === "zh";
  return h(
    "section",
    { class: "card notes", "aria-labelledby": "causes-title", "data-key": "causes" },
    h("h2", { id: "causes-title" }, t("causes")),
    h("dl", {}, found.map((cause) => [
      h("dt", {}, zh ? cause.title_zh : cause.title),
      h("dd", {}, zh ? cause.help_zh : cause.help, " ", h("b", {}, t("believe", { what: zh ? cause.believe_zh : cause.believe })),
        cause.issues.length ? h("span", { class: "quiet" }, ` langgenius/dify ${cause.issues.map((each) => `#${each}`).join(" ")}`) : null),
    ])),
  );
}
