// The first minutes: no Dify is set yet. What to write where, whether it would work, and the demo for who wants to look.

import { h } from "../dom.js";
import { t } from "../catalogue.js";
import { Refusal, ask, question } from "../ask.js";
import { fault } from "../parts.js";
import { results } from "./sources.js";

const WAYS = { admin_key: ["workspace_id", "admin_key"], account: ["email", "password"], token: ["token"] };
const SECRET = ["admin_key", "password", "token"];

const typed = { way: "admin_key", url: "" };
let tried = null;

/** The way to the first numbers. `again` shows it anew. */
export function start(again) {
  return h(
    "div",
    { class: "start", "data-key": "start" },
    h("section", { class: "card" },
      h("h2", {}, t("start_title")),
      h("p", {}, t("start_lead")),
      form(again)),
    h("div", { class: "column" }, h("section", { class: "card", "aria-labelledby": "start-lines" },
      h("h2", { id: "start-lines" }, t("start_lines")),
      h("p", {}, t("start_file")),
      h("pre", { tabindex: "0", "aria-label": "dify-metric.toml" }, h("code", {}, toml())),
      h("p", {}, t("start_environment")),
      h("pre", { tabindex: "0", "aria-label": t("start_environment") }, h("code", {}, environment())),
      h("p", { class: "quiet" }, t("start_restart"))),
    h("section", { class: "card" },
      h("h2", {}, t("start_demo")),
      h("p", {}, t("start_demo_lead")),
      h("pre", { tabindex: "0", "aria-label": t("start_demo") }, h("code", {}, "dify-metric demo --listen 127.0.0.1:9190")))),
  );
}

function form(again) {
  const field = (name, kind = "text") => h(
    "label",
    { "data-key": name },
    h("span", {}, t(`field_${name}`)),
    h("input", { name, type: kind, value: typed[name] || "", autocomplete: "off", spellcheck: "false", required: true, oninput: (event) => { typed[name] = event.target.value.trim(); again(); } }),
  );
  return h(
    "form",
    { class: "stack", onsubmit: (event) => { event.preventDefault(); look(again); } },
    field("url", "url"),
    h("fieldset", {}, h("legend", {}, t("sign_in_how")),
      Object.keys(WAYS).map((way) => h("label", { class: "radio", "data-key": way },
        h("input", { type: "radio", name: "way", value: way, checked: typed.way === way, onchange: () => { typed.way = way; tried = null; again(); } }), t(`sign_in_${way}`)))),
    WAYS[typed.way].map((name) => field(name, SECRET.includes(name) ? "password" : "text")),
    h("p", {}, h("button", { type: "submit", class: "primary", disabled: tried?.isAsking }, tried?.isAsking ? t("trying") : t("try_connection"))),
    h("div", { role: "status" }, tried?.error ? fault(tried.error, t("try_failed")) : tried?.checks ? [results(tried.checks), tried.checks.every((each) => each.is_well) ? h("p", {}, t("try_worked")) : null] : null),
    h("p", { class: "quiet" }, t("try_kept_nowhere")),
  );
}

async function look(again) {
  const body = { url: typed.url };
  for (const name of WAYS[typed.way]) body[name] = typed[name] || "";
  tried = { isAsking: true };
  again();
  try {
    tried = { checks: (await ask(question("check"), { method: "POST", body })).checks };
  } catch (error) {
    tried = { error: error instanceof Refusal ? error : new Refusal("question", { detail: String(error) }) };
  }
  again();
}

function lines() {
  const known = { url: typed.url || "https://dify.example.com" };
  for (const name of WAYS[typed.way]) if (!SECRET.includes(name)) known[name] = typed[name] || (name === "email" ? "metrics@example.com" : "e85a4b2c-…");
  return Object.entries(known);
}

function toml() {
  const secret = WAYS[typed.way].find((name) => SECRET.includes(name));
  const told = lines().map(([name, value]) => `dify_${name} = ${JSON.stringify(value)}`);
  return [...told, `dify_${secret}_file = "dify_${secret}.txt"`].join("\n");
}

function environment() {
  const secret = WAYS[typed.way].find((name) => SECRET.includes(name));
  const told = lines().map(([name, value]) => `DIFY_METRIC_DIFY_${name.toUpperCase()}='${value.replaceAll("'", "'\\''")}'`);
  return [...told, `DIFY_METRIC_DIFY_${secret.toUpperCase()}=…`].join("\n");
}
