// The page: reads what was chosen, asks REST, shows the answers, and asks again while they may change.

import { show } from "./dom.js";
import { learn, speak, t } from "./catalogue.js";
import { Refusal, ask, key, question, useKey } from "./ask.js";
import { asked } from "./period.js";
import { address, go, onChange, read, remember } from "./state.js";
import { door, frame } from "./frame.js";
import { fault } from "./parts.js";
import { start } from "./views/start.js";
import * as overview from "./views/overview.js";
import * as app from "./views/app.js";
import * as reconciliation from "./views/reconciliation.js";
import * as sources from "./views/sources.js";
import { apps, knowledge, models, users } from "./views/lists.js";

const VIEWS = { overview, apps, app, models, users, knowledge, reconciliation, sources };
const EVERY = 10e3;
const SOONEST = 2e3;
const REST = 20; // times as long as the last load took is the least between two: who asks much asks seldom
const MOST_KEPT = 60;

const place = document.getElementById("page");
const darkness = matchMedia("(prefers-color-scheme: dark)"); // of the system
const kept = new Map(); // what was chosen -> name of a question -> {answer, error}
let shown = null; // the answers of the last complete view, shown until those of the next are there
let catalogue = null;
let isRefused = false;
let doorSays = null;
let isTrying = false;
let asking = null;
let isPaused = false;
let failures = 0;
let loadedAt = null;
let timer = 0;
let took = 0;
let said = "";
let isDue = false;

function viewOf(state) {
  return VIEWS[state.view] && (state.view !== "app" || state.id) ? state.view : "overview";
}

/** Draw once, however many answers arrived together. */
function draw() {
  if (isDue) return;
  isDue = true;
  queueMicrotask(() => {
    isDue = false;
    render();
  });
}

function render() {
  const state = { ...read(), view: viewOf(read()) };
  const page = document.documentElement;
  speak(state.lang);
  page.lang = state.lang === "zh" ? "zh-CN" : "en";
  page.dataset.theme = state.theme !== "system" ? state.theme : darkness.matches ? "dark" : "light";
  const period = asked(state);
  const view = VIEWS[state.view];
  const answers = kept.get(address(state)) || {};
  const names = Object.keys(view.requests(state, period));
  const isThere = names.every((name) => answers[name]);
  const same = shown && shown.view === state.view && shown.id === state.id ? shown.answers : {};
  const found = Object.fromEntries([...names, "sources"].map((name) => [name, answers[name] || same[name] || {}]));
  if (isThere) shown = { view: state.view, id: state.id, answers: found };
  const name = (view.named && view.named(state, found)) || t(view.heading);
  document.title = `${name} · dify-metric`;
  show(place, frame(state, {
    view: state.view === "app" ? "apps" : state.view,
    heading: isRefused ? t("sign_in") : name,
    content: content(state, view, found, period),
    sources: found.sources.answer?.sources,
    live: { at: loadedAt, isLive: period.isLive || state.view === "sources", isAway: failures > 0, isPaused, onPause: pause },
    isBare: isRefused || (state.view === "overview" && isNew(found)),
    isBusy: !isRefused && !isThere && failures === 0,
    said,
    signOut,
  }));
}

function content(state, view, found, period) {
  if (isRefused) return door({ error: doorSays, isTrying, onKey: signIn });
  if (catalogue?.error && !catalogue.answer) return fault(catalogue.error);
  if (!catalogue?.answer) return null;
  if (state.view === "overview" && isNew(found)) return start(draw);
  return view.render(state, found, period, again);
}

/** Whether nothing was ever set, and nothing was counted. */
function isNew({ sources: set, head }) {
  const isSet = !set.answer || set.answer.sources.some((each) => each.way !== "tap");
  return !isSet && head.answer !== undefined && !head.answer.watermark && !head.answer.totals.some((row) => row.invocations || row.requests);
}

/** Ask for everything that the view shows, all at once; what came is drawn as it comes. */
async function load({ isQuiet = false } = {}) {
  clearTimeout(timer);
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  if (!key() && document.documentElement.dataset.door === "closed") {
    isRefused = true;
    draw();
    return;
  }
  const state = { ...read(), view: viewOf(read()) };
  const here = address(state);
  const urls = { ...VIEWS[state.view].requests(state, asked(state)), sources: question("sources") };
  if (!isQuiet) draw();
  const begun = performance.now();
  let isAway = false;
  const one = async (name, url) => {
    try {
      keep(here, name, { answer: await ask(url, { signal: mine.signal }) });
    } catch (error) {
      if (mine.signal.aborted) return;
      const refusal = error instanceof Refusal ? error : new Refusal("question", { detail: String(error) });
      if (refusal.kind === "unreachable") isAway = true;
      else if (refusal.kind === "key") refuse(refusal);
      else keep(here, name, { error: refusal });
    }
    if (!mine.signal.aborted) draw();
  };
  await Promise.all([catalogueOnce(mine.signal, () => { isAway = true; }), ...Object.entries(urls).map(([name, url]) => one(name, url))]);
  if (mine.signal.aborted) return;
  asking = null;
  took = performance.now() - begun;
  const wasAway = failures > 0;
  failures = isAway ? failures + 1 : 0;
  if (!isAway) loadedAt = Date.now();
  if (wasAway !== isAway) said = t(isAway ? "away" : "back_again");
  else if (!isQuiet) said = t("shown", { view: document.title.replace(" · dify-metric", ""), period: t(`period_${state.period}`) });
  draw();
  wait();
}

function keep(here, name, found) {
  const answers = kept.get(here) || {};
  kept.delete(here);
  kept.set(here, { ...answers, [name]: found });
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
}

async function catalogueOnce(signal, onAway) {
  if (catalogue?.answer) return;
  try {
    catalogue = { answer: await ask(question("measures"), { signal }) };
    learn(catalogue.answer);
  } catch (error) {
    if (signal.aborted) return;
    if (error.kind === "key") refuse(error);
    else if (error.kind === "unreachable") onAway();
    else catalogue = { error };
  }
  draw();
}

function wait() {
  clearTimeout(timer);
  if (isRefused || document.hidden) return;
  const state = read();
  const changes = asked(state).isLive || viewOf(state) === "sources";
  if (failures) timer = setTimeout(() => load({ isQuiet: true }), Math.min(SOONEST * failures, EVERY));
  else if (changes && !isPaused) timer = setTimeout(() => load({ isQuiet: true }), Math.max(EVERY, REST * took));
}

function again() {
  draw();
  load({ isQuiet: true });
}

function pause() {
  isPaused = !isPaused;
  draw();
  if (isPaused) clearTimeout(timer);
  else load({ isQuiet: true });
}

function refuse(refusal) {
  if (isRefused) return;
  isRefused = true;
  doorSays = key() ? `${t("key_not_taken")} ${refusal.message}` : null;
  useKey(null);
  kept.clear();
  shown = null;
}

async function signIn(token) {
  isTrying = true;
  doorSays = null;
  draw();
  useKey(token);
  try {
    catalogue = { answer: await ask(question("measures")) };
    learn(catalogue.answer);
    isRefused = false;
  } catch (error) {
    useKey(null);
    const words = { key: "key_not_taken", refused: "key_may_not_read", wait: "fault_wait", unreachable: "fault_unreachable" };
    doorSays = `${t(words[error.kind] || "fault")} ${error.kind === "unreachable" ? "" : error.message}`;
  }
  isTrying = false;
  if (isRefused) draw();
  else load();
}

function signOut() {
  useKey(null);
  kept.clear();
  shown = null;
  catalogue = null;
  load();
}

let before = { view: null, id: null };

function changed() {
  const state = read();
  remember(state);
  if (location.hash !== address(state)) history.replaceState(null, "", address(state));
  const isElsewhere = state.view !== before.view || state.id !== before.id;
  const wasSomewhere = before.view !== null;
  before = { view: state.view, id: state.id };
  load();
  if (isElsewhere && wasSomewhere) {
    scrollTo(0, 0);
    queueMicrotask(() => document.getElementById("heading")?.focus({ preventScroll: true }));
  }
}

onChange(changed);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : load({ isQuiet: true })));
darkness.addEventListener("change", draw);
go({}, { replace: true });
