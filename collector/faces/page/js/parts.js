// The small things every view is made of: tiles, marks on what is partial, notes, notices, links.

import { h } from "./dom.js";
import { flag, flagsOf, help, language, measure, t, title, unit } from "./catalogue.js";
import { sparkline } from "./chart.js";
import { UNKNOWN, ago, change, count, instant, span, written } from "./numbers.js";
import { address } from "./state.js";

/** A mark beside a number of which something is missing or guessed; it leads to the notes that say what. */
export function mark(name, flags) {
  const found = flagsOf(name, flags);
  if (!found.length) return null;
  const words = found.map((each) => `${flag(each)[0]} (${count(flags[each], language())})`).join(", ");
  return h(
    "button",
    { type: "button", class: "mark", title: words, "aria-label": t("partial", { what: words }), onclick: toNotes },
    "≈",
  );
}

function toNotes() {
  const notes = document.getElementById("notes");
  notes?.scrollIntoView({ block: "center" });
  notes?.focus({ preventScroll: true });
}

/** What marks mean, of all the answers of a view. */
export function notes(answers) {
  const together = {};
  for (const answer of answers) {
    for (const [name, number] of Object.entries(answer?.flags || {})) {
      if (!["rows_left_out", "groups_left_out"].includes(name)) together[name] = Math.max(together[name] || 0, number);
    }
  }
  const names = Object.keys(together);
  if (!names.length) return null;
  return h(
    "section",
    { class: "card notes", id: "notes", tabindex: "-1", "aria-labelledby": "notes-title", "data-key": "notes" },
    h("h2", { id: "notes-title" }, h("span", { class: "mark", "aria-hidden": "true" }, "≈"), t("notes")),
    h("dl", {}, names.map((name) => {
      const [heading, meaning] = flag(name);
      return [h("dt", {}, `${heading} · ${count(together[name], language())}`), h("dd", {}, meaning)];
    })),
  );
}

const WORSE_UP = /failure|failed|response_time|latency|queue|elapsed/;

/** One number as a tile: its title, value, change against the period before, and how it went.
 *
 * `row`: the totals of an answer; `flags` its flags; `steps`: the values of its steps; `more`: a line below it.
 */
export function tile({ name, row, flags, steps, currency, more, heading, note }) {
  const lang = language();
  const value = row?.[name];
  const about = { short: true, currency };
  const shown = row === undefined ? h("span", { class: "skeleton" }, "000") : written(value, unit(name), lang, about);
  const grown = change(row?.[`${name}_change`], lang);
  const before = row?.[`${name}_before`];
  const exact = value === null || value === undefined ? null : written(value, unit(name), lang, { currency });
  return h(
    "article",
    { class: "tile", "data-key": currency ? `${name}-${currency}` : name },
    h("h2", { title: help(name) || null }, heading || title(name)),
    h("p", { class: "value", "data-measure": name, title: exact }, shown, row && value !== null ? mark(name, flags) : null),
    h(
      "p",
      { class: "change" },
      grown === null
        ? note || (more && !before ? more : null) || (before === null || before === undefined ? " " : t("before_was", { value: written(before, unit(name), lang, about) }))
        : [
            h("span", { class: `grown ${mood(name, row[`${name}_change`])}` }, grown),
            h("span", { class: "quiet" }, t("before_was", { value: written(before, unit(name), lang, about) })),
          ],
    ),
    more && (grown !== null || before || note) ? h("p", { class: "more" }, more) : null,
    steps ? sparkline(steps) : null,
  );
}

function mood(name, grown) {
  if (!WORSE_UP.test(name) || Math.abs(grown) < 0.005) return "";
  return grown > 0 ? "worse" : "better";
}

/** Up to when an answer is complete, and what period it is about. */
export function covered(answer, state) {
  const lang = language();
  if (!answer) return h("p", { class: "covered" }, h("span", { class: "skeleton" }, t("loading")));
  const at = (value) => instant(value, lang, state.tz);
  return h(
    "p",
    { class: "covered" },
    h("span", {}, t("period_is", { span: span(answer.period.since, answer.period.until, lang, state.tz), tz: state.tz.replaceAll("_", " ") })),
    h("span", { class: "watermark" }, answer.watermark
      ? h("span", { title: at(answer.watermark) }, t("complete_until", { at: at(answer.watermark), ago: ago(answer.watermark, lang) }))
      : t("complete_never")),
  );
}

/** Something went wrong with one question: what, and what to do. */
export function fault(error, heading) {
  const words = { key: "fault_key", refused: "fault_refused", wait: "fault_wait", unreachable: "fault_unreachable" };
  return h(
    "div",
    { class: "card fault", role: "alert" },
    h("h2", {}, heading || t("fault")),
    h("p", {}, words[error.kind] ? t(words[error.kind]) : error.message),
    words[error.kind] && error.message !== error.kind ? h("p", { class: "quiet" }, error.message) : null,
    error.remedy ? h("p", { class: "quiet" }, error.remedy) : null,
  );
}

/** A link to a view, with everything that is chosen. */
export function link(state, to, ...inside) {
  const kept = Object.fromEntries(["period", "from", "to", "tz", "theme", "lang"].map((name) => [name, state[name]]));
  return h("a", { href: address({ ...kept, id: null, ...to }) }, inside);
}

/** The name of an app, which leads to its page; its id where nobody told a name. */
export function appLink(state, row) {
  if (!row.app_id) return t("no_app");
  return link(state, { view: "app", id: row.app_id }, row.app_name || row.app_id);
}

/** A word of Dify's, such as a mode or a state, in the reader's language where we know it. */
export function word(kind, value) {
  if (value === null || value === undefined || value === "") return UNKNOWN;
  const name = `${kind}_${value}`.replaceAll("-", "_");
  try {
    return t(name);
  } catch {
    return value;
  }
}

/** The steps of an answer as a chart wants them: their times, and the values of a column. */
export function steps(answer, only = () => true) {
  const rows = answer.rows.filter(only);
  return { times: rows.map((row) => Date.parse(row.time) / 1000), of: (name) => rows.map((row) => row[name] ?? null) };
}

/** Whether a measure is in the catalogue of this collector. */
export function isMeasure(name) {
  return measure(name) !== undefined;
}
