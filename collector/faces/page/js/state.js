// What the reader chose: in the address, so that it can be sent to others, and remembered for the next visit.

export const PERIODS = ["24h", "7d", "30d", "month", "previous", "custom"];
export const THEMES = ["system", "light", "dark"];
export const LANGUAGES = ["en", "zh"];

const KEPT = ["period", "from", "to", "tz", "theme", "lang"];
const STORE = "dify-metric";

let heard = () => {};

/** The state as the address has it, what it leaves out as it was last time, the rest as the server and browser say. */
export function read() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  const told = Object.fromEntries(new URLSearchParams(query || ""));
  const page = document.documentElement;
  const state = { period: "24h", theme: "system", lang: page.lang.slice(0, 2), tz: page.dataset.zone, ...remembered(), ...told };
  state.view = view || "overview";
  state.id = rest.length ? decodeURIComponent(rest.join("/")) : null;
  if (!PERIODS.includes(state.period)) state.period = "24h";
  if (state.period === "custom" && !(isDay(state.from) && isDay(state.to))) state.period = "7d";
  if (!THEMES.includes(state.theme)) state.theme = "system";
  if (!LANGUAGES.includes(state.lang)) state.lang = "en";
  if (!isZone(state.tz)) state.tz = isZone(page.dataset.zone) ? page.dataset.zone : "UTC";
  return state;
}

/** The address of a state. */
export function address(state) {
  const { view, id, ...rest } = state;
  const query = new URLSearchParams();
  for (const name of KEPT) {
    if (rest[name] && (rest.period === "custom" || (name !== "from" && name !== "to"))) query.set(name, rest[name]);
  }
  for (const [name, value] of Object.entries(rest)) if (!KEPT.includes(name) && value) query.set(name, value);
  const path = id ? `${view}/${encodeURIComponent(id)}` : view;
  return `#/${path}?${query}`;
}

/** Another view or another choice. What belongs to one view alone (order, search) goes with it. */
export function go(changes, { replace = false } = {}) {
  const before = read();
  const kept = Object.fromEntries(KEPT.map((name) => [name, before[name]]));
  const own = changes.view && changes.view !== before.view ? {} : before;
  const next = { ...own, ...kept, view: before.view, ...changes };
  if (changes.view && changes.id === undefined) next.id = null;
  remember(next);
  history[replace ? "replaceState" : "pushState"](null, "", address(next));
  heard();
}

/** Call `does` whenever the state may be another one. */
export function onChange(does) {
  heard = does;
  addEventListener("hashchange", does);
}

function isDay(text) {
  return /^\d{4}-\d{2}-\d{2}$/.test(text || "") && !Number.isNaN(Date.parse(text));
}

function isZone(name) {
  try {
    return Boolean(name) && Boolean(new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}

function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem(STORE) || "{}");
    return Object.fromEntries(KEPT.filter((name) => typeof found[name] === "string").map((name) => [name, found[name]]));
  } catch {
    return {};
  }
}

/** Keep what was chosen for the next visit. */
export function remember(state) {
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(KEPT.map((name) => [name, state[name]]))));
  } catch {
    // a browser that keeps nothing: the address still has it
  }
}
