// Numbers, money, durations and instants as the reader's language writes them. What is not known is a dash, never zero.

export const UNKNOWN = "–";

const cached = new Map();

function formatter(kind, lang, options) {
  const name = `${kind} ${lang} ${JSON.stringify(options)}`;
  if (!cached.has(name)) cached.set(name, new Intl[kind](lang === "zh" ? "zh-CN" : "en", options));
  return cached.get(name);
}

/** A value by its unit as the catalogue names it. `short`: no more digits than a tile has room for. */
export function written(value, unit, lang, { short = false, currency = null, tz = "UTC" } = {}) {
  if (value === null || value === undefined) return UNKNOWN;
  if (currency || unit === "currency") return money(value, currency, lang, short);
  if (/^[A-Z]{3}$/.test(unit)) return money(value, unit, lang, short);
  if (unit === "ratio") return ratio(value, lang);
  if (unit === "seconds") return seconds(value, lang);
  if (unit === "instant") return instant(value, lang, tz);
  if (unit?.endsWith("/second")) return `${count(value, lang, short, 2)} ${lang === "zh" ? "/秒" : "/s"}`;
  if (unit?.includes("/") || unit?.startsWith("per ")) return count(value, lang, short, 2);
  return count(value, lang, short, 0);
}

export function count(value, lang, short = false, digits = 0) {
  if (short && Math.abs(value) >= 1e5) {
    return formatter("NumberFormat", lang, { notation: "compact", maximumFractionDigits: 1 }).format(value);
  }
  const places = digits && Math.abs(value) < 0.1 ? 4 : digits;
  return formatter("NumberFormat", lang, { maximumFractionDigits: places }).format(value);
}

export function ratio(value, lang) {
  const digits = value > 0 && value < 0.001 ? 2 : 1;
  return formatter("NumberFormat", lang, { style: "percent", maximumFractionDigits: digits }).format(value);
}

/** Money is text with every digit: it is formatted from the text, not from a rounded number. */
export function money(value, currency, lang, short) {
  const size = Math.abs(Number(value));
  const options = { maximumFractionDigits: size && size < 1 && !short ? 6 : size && size < 0.01 ? 4 : 2 };
  options.minimumFractionDigits = 2;
  if (short && size >= 1e6) Object.assign(options, { notation: "compact", minimumFractionDigits: 0 });
  if (/^[A-Z]{3}$/.test(currency || "")) Object.assign(options, { style: "currency", currency });
  return formatter("NumberFormat", lang, { ...options, currencyDisplay: "narrowSymbol" }).format(value);
}

const UNITS = { en: { ms: " ms", s: " s", min: " min", h: " h", d: " d" }, zh: { ms: " 毫秒", s: " 秒", min: " 分", h: " 小时", d: " 天" } };

export function seconds(value, lang) {
  const units = UNITS[lang];
  const plain = (number, digits) => formatter("NumberFormat", lang, { maximumFractionDigits: digits }).format(number);
  if (value < 1) return plain(value * 1000, 0) + units.ms;
  if (value < 60) return plain(value, value < 10 ? 2 : 1) + units.s;
  const [big, small, length] = value < 3600 ? ["min", "s", 60] : value < 86400 ? ["h", "min", 3600] : ["d", "h", 86400];
  const rest = Math.floor(((value % length) / length) * (big === "d" ? 24 : 60));
  return `${plain(Math.floor(value / length), 0)}${units[big]}${rest ? ` ${plain(rest, 0)}${units[small]}` : ""}`;
}

export function instant(value, lang, tz) {
  if (!value) return UNKNOWN;
  const options = { dateStyle: "medium", timeStyle: "short", timeZone: tz };
  return formatter("DateTimeFormat", lang, options).format(new Date(value));
}

/** From when to when: days where both ends are midnights, else with their time. */
export function span(since, until, lang, tz) {
  const [from, to] = [Date.parse(since), Date.parse(until)];
  const midnight = new Intl.DateTimeFormat("en", { timeZone: tz, hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const isWhole = to > from && [from, to].every((at) => midnight.format(at) === "00:00");
  const options = isWhole ? { dateStyle: "medium", timeZone: tz } : { dateStyle: "medium", timeStyle: "short", timeZone: tz };
  return formatter("DateTimeFormat", lang, options).formatRange(from, isWhole ? to - 1000 : to);
}

export function clock(value, lang, tz) {
  return formatter("DateTimeFormat", lang, { timeStyle: "medium", timeZone: tz }).format(value);
}

/** The start of a step, as long as the step needs. `full`: also where an axis would leave the day out. */
export function step(value, grain, lang, tz, full = false) {
  const at = typeof value === "number" ? value * 1000 : Date.parse(value);
  const options = { timeZone: tz };
  if (grain === "hour") Object.assign(options, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (grain !== "hour" || full) Object.assign(options, { month: "short", day: "numeric" });
  if (grain === "day" && full) options.weekday = "short";
  if (grain === "week" || grain === "month") options.year = full ? "numeric" : undefined;
  return formatter("DateTimeFormat", lang, options).format(at);
}

/** How long ago an instant was: "3 minutes ago". */
export function ago(value, lang, now = Date.now()) {
  if (!value) return UNKNOWN;
  const passed = (Date.parse(value) - now) / 1000;
  const [unit, length] = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]].find(
    ([, one]) => Math.abs(passed) >= one || one === 1,
  );
  return formatter("RelativeTimeFormat", lang, { numeric: "auto" }).format(Math.round(passed / length), unit);
}

/** A change as people say it: +12.3 %. null: nothing to compare with. */
export function change(value, lang) {
  if (value === null || value === undefined) return null;
  const options = { style: "percent", signDisplay: "exceptZero", maximumFractionDigits: Math.abs(value) < 0.1 ? 1 : 0 };
  return formatter("NumberFormat", lang, options).format(value);
}
