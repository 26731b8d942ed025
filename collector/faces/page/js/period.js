// A chosen period -> what REST is asked: whole hours or whole days, so that every bar of a chart is as long as the next.

const HOUR = 3600e3;
const DAY = 24 * HOUR;

/** `since`, `until` and `grain` as REST takes them; `isLive`: it is not over yet. */
export function asked(state, now = Date.now()) {
  if (state.period === "24h") {
    const hour = Math.floor(now / HOUR) * HOUR;
    return { since: instant(hour - 23 * HOUR), until: instant(hour + HOUR), grain: "hour", isLive: true };
  }
  const today = day(now, state.tz);
  if (state.period === "7d" || state.period === "30d") {
    const days = state.period === "7d" ? 7 : 30;
    return { since: shifted(today, 1 - days), until: today, grain: "day", isLive: true };
  }
  if (state.period === "custom") {
    const [from, to] = state.from <= state.to ? [state.from, state.to] : [state.to, state.from];
    return { since: from, until: to, grain: grainOf(from, to), isLive: to >= today };
  }
  const [year, month] = today.split("-").map(Number);
  const first = new Date(Date.UTC(year, month - (state.period === "previous" ? 2 : 1), 1)).toISOString().slice(0, 7);
  return { since: first, until: first, grain: "day", isLive: state.period === "month" };
}

/** The days a period covers, for those who take only days: [first, last]. */
export function days(state, now = Date.now()) {
  if (state.period !== "24h") {
    const { since, until } = asked(state, now);
    return [since, until];
  }
  const today = day(now, state.tz);
  return [shifted(today, -1), today];
}

/** The calendar day of an instant in a zone, as 2026-11-21. */
export function day(at, zone) {
  const parts = new Intl.DateTimeFormat("en-CA", { timeZone: zone, dateStyle: "short" }).formatToParts(at);
  const found = Object.fromEntries(parts.map((part) => [part.type, part.value]));
  return `${found.year}-${found.month.padStart(2, "0")}-${found.day.padStart(2, "0")}`;
}

function grainOf(from, to) {
  const length = (Date.parse(to) - Date.parse(from)) / DAY + 1;
  if (length <= 2) return "hour";
  if (length <= 100) return "day";
  return length <= 730 ? "week" : "month";
}

function shifted(from, by) {
  return new Date(Date.parse(from) + by * DAY).toISOString().slice(0, 10);
}

function instant(at) {
  return new Date(at).toISOString().replace(".000Z", "Z");
}
