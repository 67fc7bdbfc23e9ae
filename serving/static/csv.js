// Text to a table, and cells to numbers and days. Nothing here knows the page.

const SEPARATORS = [",", ";", "\t", "|"];
const MISSING = new Set(["", "na", "n/a", "#n/a", "nan", "null", "none", "<na>"]);
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
// The words of a column of events, as lib/data/numbers.py reads them.
const YES = new Set(["true", "t", "yes", "y", "sim", "s"]);
const NO = new Set(["false", "f", "no", "n", "não", "nao"]);

/** Bytes to text: UTF-8 or UTF-16 with its mark, otherwise what spreadsheets of old write. */
export function decode(bytes) {
  const [a, b] = new Uint8Array(bytes.slice(0, 2));
  if (a === 0xff && b === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (a === 0xfe && b === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/**
 * A table: {separator, header: [name], rows: [{line, cells}]}. Lines count from 1, as editors do.
 * Without a header, names are "". Blank lines are left out.
 */
export function parse(text) {
  let clean = text.replace(/^\uFEFF/, "");
  // The first line of a file for Excel may name the separator.
  const told = /^"?sep=(.)"?[;,|\t]*\r?\n/i.exec(clean);
  if (told) clean = clean.slice(told[0].length);
  const separator = told ? told[1] : findSeparator(clean);
  const rows = split(clean, separator, told ? 2 : 1).filter((row) => row.cells.some((cell) => cell !== ""));
  if (!rows.length) return { separator, header: [], rows: [] };
  const named = !rows[0].cells.some((cell) => readDay(cell, formats(cell)[0]) || NUMBER.test(cell));
  const header = named ? rows.shift().cells : rows[0].cells.map(() => "");
  return { separator, header, rows };
}

function findSeparator(text) {
  const lines = text.split(/\r?\n/, 30).filter((line) => line.trim());
  let best = ",";
  let most = 0;
  for (const separator of SEPARATORS) {
    const counts = lines.map((line) => split(line, separator)[0]?.cells.length ?? 1);
    // The header decides, and as many lines as agree with it. A decimal comma does not.
    const agree = counts.filter((count) => count === counts[0]).length / counts.length;
    const score = counts[0] > 1 ? agree * 100 + Math.min(counts[0], 50) : 0;
    if (score > most) [best, most] = [separator, score];
  }
  return best;
}

function split(text, separator, start = 1) {
  const rows = [];
  let cells = [];
  let cell = "";
  let line = start;
  let first = start;
  let quoted = false;
  const end = () => {
    cells.push(cell.trim());
    rows.push({ line: first, cells });
    cells = [];
    cell = "";
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "\n") line++;
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (c === '"' && cell.trim() === "") [quoted, cell] = [true, ""];
    else if (c === separator) {
      cells.push(cell.trim());
      cell = "";
    } else if (c === "\n") {
      end();
      first = line;
    } else if (c !== "\r") cell += c;
  }
  if (cell !== "" || cells.length) end();
  return rows;
}

const SIGN = "(?:[A-Z]{0,3}\\p{Sc}|(?:BRL|CHF|EUR|GBP|JPY|USD)(?![A-Za-z]))";
const CURRENCY = new RegExp(`^([+-]?)\\s*(${SIGN})\\s*(?=[\\d.,+-])|(?<=\\d)\\s*(${SIGN})$`, "u");
const SIGNED = /[^\d.,+-]/; // what more than a number has
// Spaces and apostrophes between groups of three digits, as in 1 234,5 and 1'234.5.
const SPACED = /^[+-]?[1-9]\d{0,2}([ \u00a0\u2009\u202f'’])\d{3}(?:\1\d{3})*(?:[.,]\d*)?$/;

/** The currency sign of a cell, "" for none. */
export function currencyOf(text) {
  if (!SIGNED.test(text)) return "";
  const found = CURRENCY.exec(text.trim());
  return found ? (found[2] ?? found[3]) : "";
}

/** A cell without currency sign, and without the spaces or apostrophes that group its digits. */
function tidy(text) {
  const cell = text.trim().replace(/^\u2212/, "-").replace(CURRENCY, "$1");
  return SPACED.test(cell) ? cell.replace(/[ \u00a0\u2009\u202f'’]/g, "") : cell;
}

const USES = [[".", ","], [",", "."]].map(([mark, other]) => ({
  mark,
  other,
  grouped: new RegExp(`^[+-]?[1-9]\\d{0,2}(\\${mark}\\d{3})+$`),
  decimal: new RegExp(`^[+-]?(\\d*\\${mark}\\d*(e[+-]?\\d+)?|[1-9]\\d{0,2}(\\${other}\\d{3})+\\${mark}\\d*)$`, "i"),
}));

/** What cells tell of the decimal mark, as lib/data/parsing.py has it; `either` may be both. */
function weigh(cells) {
  const found = { ".": 0, ",": 0, either: null };
  for (const text of cells) {
    if (!/[.,]/.test(text)) continue;
    const cell = tidy(text);
    for (const { mark, other, grouped, decimal } of USES) {
      if (!grouped.test(cell)) found[mark] += decimal.test(cell);
      else if (cell.split(mark).length > 2) found[other]++;
      else found.either ??= { cell: text.trim(), mark };
    }
  }
  return found;
}

/** The decimal mark of cells; without a cell that tells, "," where that separates no fields. */
export function findDecimal(cells, separator) {
  const found = weigh(cells);
  if (found["."] || found[","]) return found[","] > found["."] ? "," : ".";
  return found.either?.mark === "," && separator === ";" ? "," : ".";
}

/** A cell such as 1.234 that may be read in two ways, where no other tells; "" otherwise. */
export function findDoubt(cells, separator) {
  const found = weigh(cells);
  const plain = found.either?.mark === "." && separator === ",";
  return found.either && !plain && !found["."] && !found[","] ? found.either.cell : "";
}

// Most cells of a large file: they are read at once.
const PLAIN = { ".": /^-?\d+(\.\d+)?$/, ",": /^-?\d+(,\d+)?$/ };
const GROUPED = {
  ".": /^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?$/,
  ",": /^[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?$/,
};

/** A number, null where it is missing, undefined where it is none. */
export function readNumber(text, decimal = ".") {
  if (PLAIN[decimal].test(text)) return finite(Number(text.replace(",", ".")));
  const cell = tidy(text);
  if (MISSING.has(cell.toLowerCase())) return null;
  let plain = cell;
  if (GROUPED[decimal].test(cell)) plain = cell.replaceAll(decimal === "," ? "." : ",", "");
  else if (decimal === "," && cell.includes(".")) return undefined;
  if (decimal === ",") plain = plain.replace(",", ".");
  return NUMBER.test(plain) ? finite(Number(plain)) : undefined;
}

const finite = (number) => (Number.isFinite(number) ? number : undefined);

/** A number of a column of events, where words are read as well; otherwise as `readNumber`. */
export function readEvent(text, decimal = ".") {
  const word = text.trim().toLowerCase();
  return YES.has(word) ? 1 : NO.has(word) ? 0 : readNumber(text, decimal);
}

/** The name of a category, null where it is missing. "None" is one. */
export function readCategory(text) {
  const cell = text.trim();
  return MISSING.has(cell.toLowerCase()) && cell !== "None" ? null : cell;
}

const CLOCK = "(?:[T ]\\s*\\d{1,2}:\\d{2}(?::\\d{2}(?:\\.\\d+)?)?)?\\s*(?:Z|UTC|[+-]\\d{2}:?\\d{2})?";
const FORMATS = [
  ["ymd", `(\\d{4})-(\\d{1,2})-(\\d{1,2})`],
  ["ymd", `(\\d{4})/(\\d{1,2})/(\\d{1,2})`],
  ["ymd", `(\\d{4})(\\d{2})(\\d{2})`],
  ["dmy", `(\\d{1,2})/(\\d{1,2})/(\\d{4})`],
  ["mdy", `(\\d{1,2})/(\\d{1,2})/(\\d{4})`],
  ["dmy", `(\\d{1,2})-(\\d{1,2})-(\\d{4})`],
  ["mdy", `(\\d{1,2})-(\\d{1,2})-(\\d{4})`],
  ["dmy", `(\\d{1,2})\\.(\\d{1,2})\\.(\\d{4})`],
].map(([order, pattern]) => ({ order, pattern: new RegExp(`^${pattern}${CLOCK}$`) }));

/** A day as "2026-01-31", null where the cell is none of this format. */
export function readDay(text, format) {
  const found = format && format.pattern.exec(text.trim());
  if (!found) return null;
  const part = (letter) => Number(found[1 + format.order.indexOf(letter)]);
  const [year, month, day] = [part("y"), part("m"), part("d")];
  const date = new Date(Date.UTC(year, month - 1, day));
  const valid = year > 0 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  return valid ? date.toISOString().slice(0, 10) : null;
}

/** The formats in which a cell is a day. */
const formats = (cell) => FORMATS.filter((format) => readDay(cell, format));

/** The format of a column of days: the one that reads most of it; then, that makes single steps. */
export function findFormat(all) {
  const cells = all.slice(0, 2000);
  let best = FORMATS[0];
  let most = -1;
  for (const format of FORMATS) {
    const days = cells.map((cell) => readDay(cell, format)).filter(Boolean).sort();
    let steps = 0;
    for (let i = 1; i < days.length; i++) steps += Date.parse(days[i]) - Date.parse(days[i - 1]) === 864e5;
    const score = days.length + steps / (cells.length + 1);
    if (score > most) [best, most] = [format, score];
  }
  return best;
}
