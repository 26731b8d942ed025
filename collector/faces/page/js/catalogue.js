// Titles of measures, dimensions and flags: the catalogue's, in the reader's language. Own words are in words.js.

import { WORDS } from "./words.js";

let measures = new Map();
let dimensions = new Map();
let flags = new Map();
let lang = "en";

/** Take the catalogue as GET /api/v1/measures tells it. */
export function learn(listing) {
  measures = new Map(listing.measures.map((each) => [each.name, each]));
  dimensions = new Map(listing.dimensions.map((each) => [each.name, each]));
  flags = new Map(listing.flags.map((each) => [each.name, each]));
}

export function speak(language) {
  lang = language;
}

export function language() {
  return lang;
}

/** One of our own words; {names} in it are filled in. */
export function t(name, filled = {}) {
  const found = WORDS[name];
  if (!found) throw new Error(`no word ${name}`);
  return found[lang === "zh" ? 1 : 0].replace(/\{(\w+)\}/g, (_, one) => String(filled[one] ?? ""));
}

/** Whether there is such a word. */
export function knows(name) {
  return name in WORDS;
}

export function measure(name) {
  return measures.get(name);
}

/** The title of a measure or a dimension; of a cost in one currency, with that currency. */
export function title(name) {
  const found = measures.get(name) || dimensions.get(name);
  if (found) return lang === "zh" ? found.title_zh : found.title;
  const money = /^cost_([a-z]{3})$/.exec(name);
  if (money && measures.has("cost")) return `${title("cost")} (${money[1].toUpperCase()})`;
  return name;
}

export function help(name) {
  const found = measures.get(name) || measures.get(name.replace(/^cost_[a-z]{3}$/, "cost")) || dimensions.get(name);
  if (!found) return "";
  return (lang === "zh" && found.help_zh) || found.help;
}

export function unit(name) {
  const money = /^cost_([a-z]{3})$/.exec(name);
  return money ? money[1].toUpperCase() : measures.get(name)?.unit || "";
}

/** The flags of an answer that touch a measure. */
export function flagsOf(name, found) {
  const known = measures.get(name)?.flags || measures.get(name.replace(/^cost_[a-z]{3}$/, "cost"))?.flags || [];
  return Object.keys(found || {}).filter((flag) => known.includes(flag) || flag === "facts_removed");
}

/** A flag in words: its title and what it means. */
export function flag(name) {
  const found = flags.get(name);
  if (found && lang === "zh") return [found.title_zh, found.help_zh || found.help];
  if (found) return [found.title, found.help];
  return knows(`flag_${name}`) ? [t(`flag_${name}`), t(`flag_${name}_help`)] : [name, ""];
}
