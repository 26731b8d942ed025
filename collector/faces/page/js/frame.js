// The frame around every view: where one can go, what can be chosen, whether numbers are live, and signing in and out.

import { h } from "./dom.js";
import { language, t } from "./catalogue.js";
import { key } from "./ask.js";
import { clock } from "./numbers.js";
import { day } from "./period.js";
import { LANGUAGES, PERIODS, THEMES, go } from "./state.js";
import { link } from "./parts.js";
import { tone } from "./views/sources.js";

const NAVIGATION = ["overview", "apps", "models", "users", "knowledge", "reconciliation", "sources"];

/** The whole page. `live`: {at, isLive, isAway, isPaused, onPause}; `isBare`: there is no period to choose. */
export function frame(state, { view, heading, content, sources, live, isBusy, isBare, said, signOut }) {
  return h(
    "div",
    { class: "frame" },
    h("button", { type: "button", class: "skip", onclick: () => document.getElementById("main").focus() }, t("skip")),
    h(
      "header",
      { class: "side" },
      h("div", { class: "brand" }, h("span", { class: "logo", "aria-hidden": "true" }), "dify-metric"),
      navigation(state, view, sources),
      choices(state),
      h("p", { class: "away" },
        h("a", { href: "docs" }, t("reference")),
        key() ? h("button", { type: "button", class: "plain", onclick: signOut }, t("sign_out")) : null),
    ),
    h(
      "main",
      { id: "main", tabindex: "-1", "aria-busy": String(isBusy), class: isBusy ? "busy" : null },
      h("div", { class: "top" },
        h("h1", { id: "heading", tabindex: "-1" }, heading),
        view === "sources" || isBare ? null : periods(state),
        isBare ? null : liveness(state, live)),
      live.isAway ? h("p", { class: "banner bad", role: "status" }, t(live.at ? "away_since" : "away", { at: live.at ? clock(live.at, language(), state.tz) : "" })) : null,
      h("div", { class: "view", "data-key": `${state.view}/${state.id || ""}` }, content),
    ),
    h("p", { class: "unseen", role: "status" }, said),
  );
}

function navigation(state, view, sources) {
  const worst = sources?.length ? ["bad", "soso", "good"].find((one) => sources.some((each) => tone(each.state) === one)) : null;
  return h(
    "nav",
    { "aria-label": t("views"), hook: (at) => reveal(at, view) },
    h("ul", {}, NAVIGATION.map((name) => {
      const item = link(state, { view: name }, t(`view_${name}`),
        name === "sources" && worst ? h("span", { class: `dot ${worst}`, role: "img", "aria-label": t(`sources_${worst}`) }) : null);
      if (name === view) item.setAttribute("aria-current", "page");
      return h("li", {}, item);
    })),
  );
}

/** On a phone the row of views is longer than the screen: the one that is looked at is brought into it. */
function reveal(row, view) {
  if (row.$view === view) return;
  row.$view = view;
  const item = row.querySelector("[aria-current]");
  if (item) row.scrollLeft = item.offsetLeft - row.clientWidth / 3;
}

function periods(state) {
  const choose = (name) => {
    if (name !== "custom") return go({ period: name });
    const today = day(Date.now(), state.tz);
    const weekAgo = day(Date.now() - 6 * 86400e3, state.tz);
    return go({ period: "custom", from: state.from || weekAgo, to: state.to || today });
  };
  return h(
    "div",
    { class: "periods" },
    h("fieldset", { class: "segments" },
      h("legend", { class: "unseen" }, t("period")),
      PERIODS.map((name) => h("label", {},
        h("input", { type: "radio", name: "period", value: name, checked: state.period === name, onchange: () => choose(name) }),
        h("span", {}, t(`period_${name}`))))),
    state.period === "custom"
      ? h("div", { class: "dates", "data-key": "dates" }, ["from", "to"].map((name) =>
        h("label", {}, t(`date_${name}`), " ", h("input", { type: "date", value: state[name], onchange: (event) => { if (event.target.value) go({ [name]: event.target.value }); } }))))
      : null,
  );
}

function choices(state) {
  const zones = h("select", { id: "zone", "data-own": "", hook: (at) => fillZones(at, state.tz), onchange: (event) => go({ tz: event.target.value }) });
  const select = (name, all) => h("select", { id: name, value: state[name], onchange: (event) => go({ [name]: event.target.value }) },
    all.map((one) => h("option", { value: one, selected: state[name] === one, lang: name === "lang" ? one : null }, t(`${name}_${one}`))));
  return h(
    "div",
    { class: "choices" },
    h("label", {}, h("span", {}, t("zone")), zones),
    h("label", {}, h("span", {}, t("theme")), select("theme", THEMES)),
    h("label", {}, h("span", {}, t("language")), select("lang", LANGUAGES)),
  );
}

function fillZones(select, chosen) {
  if (!select.options.length) {
    const own = [document.documentElement.dataset.zone, Intl.DateTimeFormat().resolvedOptions().timeZone, "UTC"];
    const all = [...new Set([...own, chosen, ...Intl.supportedValuesOf("timeZone")])];
    select.append(...all.map((name) => h("option", { value: name }, name.replaceAll("_", " "))));
  }
  if (![...select.options].some((each) => each.value === chosen)) select.append(h("option", { value: chosen }, chosen));
  if (select !== document.activeElement) select.value = chosen;
}

function liveness(state, { at, isLive, isAway, isPaused, onPause }) {
  if (!at) return null;
  const words = clock(at, language(), state.tz);
  return h(
    "p",
    { class: "live" },
    isLive
      ? h("button", { type: "button", class: "plain", "aria-pressed": String(!isPaused), title: t(isPaused ? "go_on" : "pause"), onclick: onPause },
        h("span", { class: `dot ${isAway ? "bad" : isPaused ? "soso" : "good"}`, "aria-hidden": "true" }), t(isPaused ? "paused" : "is_live"))
      : null,
    h("time", { class: "quiet", datetime: new Date(at).toISOString() }, words),
  );
}

/** The door: a key is wanted. `onKey` tries one; `error` says what came of it. */
export function door({ error, isTrying, onKey }) {
  return h(
    "section",
    { class: "card door", "aria-labelledby": "door-title" },
    h("h2", { id: "door-title" }, t("sign_in")),
    h("p", {}, t("sign_in_lead")),
    h("form", { class: "stack", onsubmit: (event) => { event.preventDefault(); onKey(event.target.elements.key.value.trim()); } },
      h("label", {}, h("span", {}, t("key")), h("input", { name: "key", type: "password", required: true, autocomplete: "current-password", spellcheck: "false", "aria-describedby": error ? "door-fault" : null })),
      error ? h("p", { class: "bad", role: "alert", id: "door-fault" }, error) : null,
      h("p", {}, h("button", { type: "submit", class: "primary", disabled: isTrying }, t(isTrying ? "trying" : "sign_in")))),
    h("p", { class: "quiet" }, t("sign_in_how_to"), " ", h("code", {}, "dify-metric key create --name me --scope read")),
  );
}
