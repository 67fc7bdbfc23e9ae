// The page's words and numbers in the language of the reader. The server draws the page in one
// language; switching replaces the words in place, so that nothing on the page is lost.

let messages = {};
let language = "en";
const listeners = [];

/** The text of a key, its {places} filled. An unknown key is its own text. */
export function t(key, values = {}) {
  const text = messages[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The language of the page: "en" or "pt-BR". */
export const lang = () => language;

// Days and numbers are written as in the reader's country, where that speaks the language.
const region = () =>
  navigator.languages.find((code) => code.split("-")[0] === language.split("-")[0]) ?? language;

/** Call `listener` after each change of language. */
export const onLanguage = (listener) => listeners.push(listener);

/** Load the words of a language and put them in place. */
export async function speak(next) {
  const response = await fetch(new URL(`messages/${next}.json`, import.meta.url));
  if (!response.ok) throw new Error(`messages of ${next}: ${response.status}`);
  messages = await response.json();
  language = next;
  document.documentElement.lang = next;
  document.title = t("title");
  translate(document);
  for (const listener of listeners) listener();
}

/** Put words into the elements below `root` that name theirs. */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
  }
}

/** Format a number: significant digits only, or exactly `behind` the mark. */
export function number(value, behind = null, options = {}) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const fitting = behind ?? digits([value]);
  return new Intl.NumberFormat(region(), {
    minimumFractionDigits: behind ?? 0,
    maximumFractionDigits: fitting,
    ...options,
  }).format(value);
}

/** How many digits behind the mark tell something of numbers like these, the same for all. */
export function digits(values) {
  const size = Math.max(...values.filter(Number.isFinite).map(Math.abs), 0);
  return size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 3;
}

/** A number with its sign. */
export const signed = (value, behind = null) =>
  number(value, behind, { signDisplay: "exceptZero" });

/** Format a day such as "2026-01-31". */
export function day(iso, options = { day: "numeric", month: "short", year: "numeric" }) {
  return new Intl.DateTimeFormat(region(), { ...options, timeZone: "UTC" }).format(
    new Date(`${iso}T00:00:00Z`),
  );
}

/** Format a moment, ISO with its zone, in the reader's time. */
export function moment(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return iso;
  const form = { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(region(), form).format(date);
}
