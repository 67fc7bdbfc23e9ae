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
  const clean = text.replace(/^\uFEFF/, "");
  const separator = findSeparator(clean);
  const rows = split(clean, separator).filter((row) => row.cells.some((cell) => cell !== ""));
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

function split(text, separator) {
  const rows = [];
  let cells = [];
  let cell = "";
  let line = 1;
  let first = 1;
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

/** The decimal mark of cells: "," where that explains more of them than ".". */
export function findDecimal(cells, separator) {
  let point = 0;
  let comma = 0;
  for (const cell of cells) {
    if (/^[+-]?(\d*,\d*|\d{1,3}(\.\d{3})+,\d*)$/.test(cell)) {
      // "1,234" may group thousands, where commas do not separate fields.
      if (!/^[+-]?[1-9]\d{0,2},\d{3}$/.test(cell) || separator === ";") comma++;
    } else if (/^[+-]?[1-9]\d{0,2}(\.\d{3}){2,}$/.test(cell)) comma++;
    else if (/\./.test(cell) && !/,/.test(cell.split(".").pop())) point++;
  }
  return comma > point ? "," : ".";
}

/** A number, null where it is missing, undefined where it is none. */
export function readNumber(text, decimal = ".") {
  const cell = text.trim();
  if (MISSING.has(cell.toLowerCase())) return null;
  const [group, mark] = decimal === "," ? ["\\.", ","] : [",", "\\."];
  const grouped = new RegExp(`^[+-]?[1-9]\\d{0,2}(${group}\\d{3})+(${mark}\\d*)?$`);
  let plain = cell;
  if (grouped.test(cell)) plain = cell.replaceAll(decimal === "," ? "." : ",", "");
  else if (decimal === "," && cell.includes(".")) return undefined;
  if (decimal === ",") plain = plain.replace(",", ".");
  const number = NUMBER.test(plain) ? Number(plain) : undefined;
  return Number.isFinite(number) ? number : undefined;
}

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
    const days = cells.map((cell) => readDay(cell, format)).filter(Boolean);
    let steps = 0;
    for (let i = 1; i < days.length; i++) steps += Date.parse(days[i]) - Date.parse(days[i - 1]) === 864e5;
    const score = days.length + steps / (cells.length + 1);
    if (score > most) [best, most] = [format, score];
  }
  return best;
}

const NAMES = {
  date: /^(date|data|day|dia|ds|dteday|datetime|timestamp|time)$|date|data|^dia|day$/i,
  value: /^(value|valor|valor_principal|y|cnt|count|units|unidades|sales|vendas|demand|demanda|qty|quantity|quantidade|target|alvo|total|passengers|rides)$/i,
  series: /^(series_?id|series|serie|série|unique_id|store|shop|loja|item|sku|product|produto|id)$/i,
  factor: /^(fator_externo|external|externo|factor|fator|temp|temperature|temperatura|price|preco|preço)$/i,
  event: /^(evento_especial|event|evento|holiday|feriado|promo|promotion|promocao|promoção)$/i,
};

/**
 * Guess the columns. Returns {date, value, series, factor, event}: numbers, -1 for none.
 * Columns of `names` belong to covariates of the model, and to no other role.
 */
export function guess(table, names = []) {
  const step = Math.ceil(table.rows.length / 400);
  const sample = table.rows.filter((_, i) => i % step === 0);
  const columns = table.header.map((_, i) => sample.map((row) => row.cells[i] ?? "").filter(Boolean));
  const decimal = findDecimal(columns.flat(), table.separator);
  // Half of a column is enough: the rest may be faults that the reader is about to be shown.
  const most = (cells, fits) => cells.length > 0 && 2 * cells.filter(fits).length > cells.length;
  const isDay = columns.map((cells) => {
    const format = findFormat(cells);
    return most(cells, (cell) => readDay(cell, format));
  });
  const isNumber = columns.map((cells) => most(cells, (c) => readNumber(c, decimal) !== undefined));
  const isEvent = columns.map((cells) => most(cells, (c) => Math.abs(readEvent(c, decimal) - 0.5) <= 0.5));
  const taken = new Set(names.map((name) => table.header.indexOf(name)).filter((i) => i >= 0));
  const pick = (role, fits, otherwise = () => -1) => {
    const named = table.header.map((name, i) => i).filter((i) => NAMES[role].test(table.header[i]));
    const found = named.find((i) => !taken.has(i) && fits(i)) ?? otherwise();
    if (found >= 0) taken.add(found);
    return found;
  };
  const date = pick("date", (i) => isDay[i], () => isDay.indexOf(true));
  const factor = pick("factor", (i) => isNumber[i]);
  const event = pick("event", (i) => isEvent[i]);
  const days = table.rows.map((row) => row.cells[date]);
  const again = date >= 0 && new Set(days).size < 0.9 * days.length;
  const series = pick("series", (i) => again && i !== date);
  const value = pick("value", (i) => isNumber[i], () => isNumber.findLastIndex((is, i) => is && !taken.has(i)));
  return { date, value, series, factor, event };
}
