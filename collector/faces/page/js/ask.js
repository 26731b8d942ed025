// Questions to REST, with the reader's key. What comes back is JSON, or an Error that says what to do.

const KEY = "dify-metric-key";
const PATIENCE = 60e3;

/** REST said no, or nothing at all. `kind`: unreachable, key (a key is wanted), refused (not with this key), question. */
export class Refusal extends Error {
  constructor(kind, told = {}) {
    super(told.detail || kind);
    this.kind = kind;
    this.title = told.title || "";
    this.status = told.status || 0;
    this.field = told.field || null;
    this.remedy = told.remedy || "";
  }
}

export function key() {
  return sessionStorage.getItem(KEY);
}

/** Show this key from now on, for as long as the tab is open; null: none. */
export function useKey(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

/** The address of a question; a list stands there once for each of its values. */
export function question(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  return query.size ? `api/v1/${path}?${query}` : `api/v1/${path}`;
}

/** The JSON at an address of `question`. Raises Refusal. */
export async function ask(url, { method = "GET", body, signal } = {}) {
  // X-Requested-With: a page asks, so a refusal must not make the browser open its own window for a password.
  const headers = { Accept: "application/json", "X-Requested-With": "dify-metric" };
  if (key()) headers.Authorization = `Bearer ${key()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const patience = AbortSignal.timeout(PATIENCE);
  let answer;
  let told;
  try {
    answer = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    });
    told = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal("unreachable");
  }
  if (answer.ok) return told;
  throw new Refusal({ 401: "key", 403: "refused", 429: "wait", 503: "unreachable" }[answer.status] || "question", {
    ...told,
    status: answer.status,
  });
}
