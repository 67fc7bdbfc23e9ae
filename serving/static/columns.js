// Guesses what the columns of a table hold, and reads a table whose columns are series.

import { findDecimal, findFormat, readDay, readEvent, readNumber } from "./csv.js";

const NAMES = {
  date: /^(date|data|day|dia|ds|dteday|datetime|timestamp|time)$|date|data|^dia|day$/i,
  value: /^(value|valor|valor_principal|y|cnt|count|units|unidades|sales|vendas|demand|demanda|qty|quantity|quantidade|target|alvo|total|passengers|rides|rentals|hires|trips|orders|pedidos|sold|vendido|consumption|consumo|visitors|visitantes|calls|chamadas|load|carga)$/i,
  series: /^(series_?id|series|serie|série|unique_id|store|shop|loja|item|sku|product|produto|id)$/i,
  factor: /^(fator_externo|external|externo|factor|fator|temp|temperature|temperatura|price|preco|preço)$/i,
  event: /^(evento_especial|event|evento|holiday|feriado|promo|promotion|promocao|promoção)$/i,
};
// Fields of the API for columns without a name of their own.
const FIELDS = { factor: "fator_externo", event: "evento_especial" };
const SAMPLE = 400; // rows that kinds are guessed from
const REPEATS = 7; // rows whose day another row has: fewer are merely written twice
const FAR = 3; // standard deviations of the learned factor beyond which a column is another one

/** What the model says of the columns without a name of their own: {learned, scaling}. */
const NOTHING = { learned: null, scaling: {} };

/**
 * Guess the columns. Returns {date, value, series, factor, event, named, effects, decimal}: numbers,
 * -1 for none; whether the value was found by its name; whether a name tells a factor or an event;
 * and the decimal mark.
 *
 * Columns of `names` belong to covariates of the model, and to no other role. A factor or an event
 * is taken only where the model has learned one, so that a file has the forecast of its numbers.
 * Where it takes `any` column by its own name, only one with the name of the API's field is.
 */
export function guess(table, names = [], { learned = null, scaling = {}, any = false } = NOTHING) {
  const { columns, decimal, isDay, isNumber } = kinds(table);
  const isEvent = columns.map((cells) => most(cells, (c) => Math.abs(readEvent(c, decimal) - 0.5) <= 0.5));
  const taken = new Set(names.map((name) => table.header.indexOf(name)).filter((i) => i >= 0));
  const named = (role) => table.header.map((_, i) => i).filter((i) => !taken.has(i) && NAMES[role].test(table.header[i]));
  const take = (found = -1) => {
    if (found >= 0) taken.add(found);
    return found;
  };
  const likely = (role, is) => {
    if (learned && !learned.includes(FIELDS[role])) return [];
    return named(role).filter((i) => is[i] && (!any || table.header[i] === FIELDS[role]));
  };
  const first = isDay.indexOf(true);
  const date = take(named("date").find((i) => isDay[i]) ?? first);
  const factor = take(likeFactor(likely("factor", isNumber), columns, decimal, scaling));
  const event = take(likely("event", isEvent)[0]);
  const free = (i) => !taken.has(i) && i !== date;
  const series = take(findSeries(table, date, isDay, isNumber, free));
  const byName = named("value").find((i) => isNumber[i]);
  const others = new Set([...named("factor"), ...named("event")]);
  const last = (fits) => isNumber.findLastIndex((is, i) => is && !taken.has(i) && fits(i));
  const plain = last((i) => !others.has(i));
  // Where any column may be a covariate, most stand behind the value.
  const next = any ? isNumber.findIndex((is, i) => is && i > date && !taken.has(i) && !others.has(i)) : -1;
  const value = take(byName ?? [next, plain].find((i) => i >= 0) ?? last(() => true));
  return { date, value, series, factor, event, named: byName !== undefined, effects: others.size > 0, decimal };
}

// Half of a column is enough: the rest may be faults that the reader is about to be shown.
const most = (cells, fits) => cells.length > 0 && 2 * cells.filter(fits).length > cells.length;

/** Some cells of each column, the decimal mark, and which columns hold days or numbers. */
function kinds(table) {
  const step = Math.ceil(table.rows.length / SAMPLE);
  const sample = table.rows.filter((_, i) => i % step === 0);
  const columns = table.header.map((_, i) => sample.map((row) => row.cells[i] ?? "").filter(Boolean));
  const isDay = columns.map((cells) => {
    const format = findFormat(cells);
    return most(cells, (cell) => readDay(cell, format));
  });
  // Days such as 01.02.2026 tell nothing of the decimal mark.
  const decimal = findDecimal(columns.filter((_, i) => !isDay[i]).flat(), table.separator);
  const isNumber = columns.map((cells) => most(cells, (cell) => readNumber(cell, decimal) !== undefined));
  return { columns, decimal, isDay, isNumber };
}

/** Of some columns, the one most like the factor that was learned; undefined where none is. */
function likeFactor(candidates, columns, decimal, { factor_mean: mean, factor_std: deviation }) {
  if (!deviation) return candidates[0];
  const distance = (i) => {
    const known = columns[i].map((cell) => readNumber(cell, decimal)).filter(Number.isFinite);
    return Math.abs(known.reduce((sum, x) => sum + x, 0) / known.length - mean) / deviation;
  };
  const near = candidates.map((i) => [distance(i), i]).filter(([far]) => far <= FAR);
  return near.sort(([a], [b]) => a - b)[0]?.[1];
}

/** Where days repeat, the column that tells their rows apart: one by its name, else one of text. */
function findSeries(table, date, isDay, isNumber, free) {
  if (date < 0) return -1;
  const cells = (i) => table.rows.map((row) => row.cells[i] ?? "");
  const days = cells(date);
  const repeats = days.length - new Set(days).size;
  const fits = (i) => {
    const own = cells(i);
    const names = new Set(own);
    if (names.has("") || names.size < 2 || 2 * names.size > own.length) return false;
    const left = days.length - new Set(days.map((day, row) => `${day}\n${own[row]}`)).size;
    return left <= 0.05 * repeats;
  };
  const candidates = table.header.map((_, i) => i).filter((i) => free(i) && !isDay[i]);
  if (repeats < Math.min(REPEATS, 0.3 * days.length)) return -1;
  const named = candidates.filter((i) => NAMES.series.test(table.header[i]));
  const text = candidates.filter((i) => !isNumber[i]);
  const groups = (i) => 2 * new Set(cells(i)).size <= days.length;
  return named.find(fits) ?? text.find(fits) ?? named.find(groups) ?? -1;
}

/** The columns that may each be a series: numbers beside one day a row and nothing else; [] if not. */
export function findWide(table, names = []) {
  const { isDay, isNumber } = kinds(table);
  const date = isDay.indexOf(true);
  const others = table.header.map((_, i) => i).filter((i) => i !== date);
  if (date < 0 || others.length < 2 || !others.every((i) => isNumber[i])) return [];
  if (others.some((i) => names.includes(table.header[i]))) return [];
  const days = table.rows.map((row) => row.cells[date]);
  return days.length - new Set(days).size < REPEATS ? others : [];
}

/** A table with one row a day and series, of one whose `columns` are series; `words` are its header. */
export function melt(table, columns, nameOf, words) {
  const date = table.header.findIndex((_, i) => !columns.includes(i));
  const rows = columns.flatMap((column) => {
    // A series begins with its first value.
    const first = table.rows.findIndex(({ cells }) => cells[column]);
    const own = first < 0 ? [] : table.rows.slice(first);
    return own.map(({ line, cells }) => ({ line, cells: [cells[date] ?? "", nameOf(column), cells[column] ?? ""] }));
  });
  return { ...table, header: [table.header[date], ...words], rows };
}
