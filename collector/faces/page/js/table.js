// Tables: sorted and paged by REST, so that the first page of two thousand apps is as quick as that of ten.

import { h } from "./dom.js";
import { help, language, t, title, unit } from "./catalogue.js";
import { count, written } from "./numbers.js";
import { mark } from "./parts.js";

/** A table of rows.
 *
 * `columns`: [{name, heading, cell(row), isText, isSortable, isHead}]; what a column does not say is the catalogue's:
 * its title, and its value by the measure's unit. `order`: the column sorted by, - before one that goes down.
 */
export function table({ key, caption, columns, rows, order, onOrder, flags, tz, empty, page }) {
  const [sorted, isDown] = order ? [order.replace(/^-/, ""), order.startsWith("-")] : [null, false];
  const head = columns.map((column) => {
    const heading = column.heading ?? title(column.name);
    const isNumber = !column.isText && !column.isHead;
    const direction = sorted === column.name ? (isDown ? "descending" : "ascending") : null;
    const inside = onOrder && column.isSortable !== false
      ? h(
          "button",
          { type: "button", class: "sort", title: help(column.name) || null, onclick: () => onOrder(turned(column, sorted, isDown, isNumber)) },
          heading,
          direction ? h("span", { class: "arrow", "aria-hidden": "true" }, isDown ? " ↓" : " ↑") : null,
        )
      : heading;
    const partial = isNumber && flags && !column.heading ? mark(column.name, flags) : null;
    return h("th", { scope: "col", class: isNumber ? "number" : null, "aria-sort": direction }, inside, partial);
  });
  const body = rows.map((row) =>
    h("tr", {}, columns.map((column) => {
      const shown = column.cell ? column.cell(row) : written(row[column.name], unit(column.name), language(), { tz });
      if (column.isHead) return h("th", { scope: "row" }, shown);
      return h("td", { class: column.isText ? null : "number" }, shown);
    })),
  );
  return h(
    "div",
    { class: "card listing", "data-key": key },
    h(
      "div",
      { class: "scroller", tabindex: "0", role: "region", "aria-label": caption },
      h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)),
    ),
    rows.length ? null : h("p", { class: "empty" }, empty || t("no_rows")),
    page ? pager(page) : null,
  );
}

function turned(column, sorted, isDown, isNumber) {
  const down = sorted === column.name ? !isDown : isNumber;
  return `${down ? "-" : ""}${column.name}`;
}

/** Which rows these are, and the way to the others. `first`: the place of the first; `onBack`, `onNext`: null if none. */
function pager({ first, length, total, onBack, onNext }) {
  if (!length) return null;
  const lang = language();
  const words = { first: count(first, lang), last: count(first + length - 1, lang), total: count(total, lang) };
  return h(
    "div",
    { class: "pager" },
    h("span", { class: "quiet" }, t("rows_of", words)),
    h("button", { type: "button", disabled: !onBack, onclick: onBack || (() => {}) }, t("back")),
    h("button", { type: "button", disabled: !onNext, onclick: onNext || (() => {}) }, t("next")),
  );
}

const pages = new Map();

/** The pages of a list that were gone through: the cursors of this question. Another question begins at its first. */
export function paging(name, asked) {
  const about = JSON.stringify(asked);
  if (pages.get(name)?.about !== about) pages.set(name, { about, cursors: [] });
  return pages.get(name).cursors;
}

/** What `table` wants to know of an answer that may have pages. */
export function paged(answer, cursors, length, again) {
  const first = cursors.length * length + 1;
  return {
    first,
    length: answer.rows.length,
    total: first - 1 + answer.rows.length + (answer.flags.rows_left_out || 0),
    onBack: cursors.length
      ? () => {
          cursors.pop();
          again();
        }
      : null,
    onNext: answer.next_cursor
      ? () => {
          cursors.push(answer.next_cursor);
          again();
        }
      : null,
  };
}

let waiting = 0;

/** A field to search in names; it asks when the reader stops typing. */
export function searching(state, go, label) {
  return h(
    "search",
    { class: "search" },
    h("input", {
      type: "search",
      value: state.q || "",
      placeholder: label,
      "aria-label": label,
      maxlength: "100",
      oninput: (event) => {
        clearTimeout(waiting);
        const typed = event.target.value;
        waiting = setTimeout(() => go({ q: typed }, { replace: true }), 250);
      },
    }),
  );
}
