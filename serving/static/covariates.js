// Finds the covariates of a file, for a network that takes columns of any name.

import { findFormat, readCategory, readDay, readEvent, readNumber } from "./csv.js";
import { ROLES } from "./dataset.js";

export const KINDS = ["number", "event", "category"];
export const MOST = 50; // of a call, as the API has it
const LABELS = 50; // of text, beyond which it is notes or numbers of receipts rather than categories
const SHARE = 0.9; // of the cells, from which others are faults in a column of numbers or days
const SAMPLE = 200; // cells that days are guessed from
// As lib/data/covariate_kinds.py: so few whole numbers, each on so many days, are codes.
const [LEAST_CODES, MOST_CODES, DAYS] = [3, 8, 5];
// Fields of the API; and a name that no object of JavaScript can have as a field.
const RESERVED = new Set(["date", "value", "fator_externo", "evento_especial", "series_id", "history", "future", "static", "__proto__"]);
const NAME = /^[^\x00-\x1f\x7f]{1,200}$/u;

/**
 * The covariates among the columns of a table that have no role: [{name, column, role, kind, kinds,
 * used}]. `kinds` are those as which the API reads these cells, `kind` is the first of them. Those
 * that hardly are covariates come with `used` false.
 */
export function findCovariates(table, mapping, decimal) {
  const roles = new Set(ROLES.map((role) => mapping[role]));
  const rows = table.rows.filter((row) => !row.out);
  const places = placesOf(rows, mapping, decimal);
  const found = new Map();
  table.header.forEach((name, column) => {
    if (roles.has(column) || found.has(name) || RESERVED.has(name) || !NAME.test(name)) return;
    const cells = rows.map((row) => readCategory(row.cells[column] ?? ""));
    const role = roleAmong(cells, places);
    const counts = role && count(role === "static" ? ofSeries(cells, places) : cells);
    if (role && !holdsDays([...counts.keys()])) found.set(name, { name, column, role, ...describe(counts, role, decimal) });
  });
  return [...found.values()];
}

/** Of each row, the name of its series and whether it lies behind the last value of that. */
function placesOf(rows, mapping, decimal) {
  const cell = (row, role) => (mapping[role] < 0 ? "" : (row.cells[mapping[role]] ?? ""));
  const format = findFormat(rows.map((row) => cell(row, "date")));
  const last = new Map();
  const places = rows.map((row) => {
    const [series, day] = [cell(row, "series").trim(), readDay(cell(row, "date"), format) ?? ""];
    const known = Number.isFinite(readNumber(cell(row, "value"), decimal));
    last.set(series, known && day > (last.get(series) ?? "") ? day : (last.get(series) ?? ""));
    return { series, day };
  });
  return places.map(({ series, day }) => ({ series, ahead: last.get(series) !== "" && day > last.get(series) }));
}

/** "static" for one value a series, "known" where a day ahead has one, else "past"; "" without any. */
function roleAmong(cells, places) {
  if (cells.every((cell) => cell === null)) return "";
  const values = new Map();
  places.forEach(({ series }, i) => {
    if (!values.has(series)) values.set(series, new Set());
    if (cells[i] !== null) values.get(series).add(cells[i]);
  });
  if (values.size > 1 && [...values.values()].every((own) => own.size === 1)) return "static";
  return places.some(({ ahead }, i) => ahead && cells[i] !== null) ? "known" : "past";
}

/** The first cell of each series. */
function ofSeries(cells, places) {
  const first = new Map();
  places.forEach(({ series }, i) => cells[i] !== null && !first.has(series) && first.set(series, cells[i]));
  return [...first.values()];
}

function count(cells) {
  const counts = new Map();
  for (const cell of cells) if (cell !== null) counts.set(cell, (counts.get(cell) ?? 0) + 1);
  return counts;
}

function holdsDays(cells) {
  const some = cells.slice(0, SAMPLE);
  const format = findFormat(some);
  return some.filter((cell) => readDay(cell, format)).length >= SHARE * some.length;
}

/** The kinds as which the API reads cells, by how often each is there: {kind, kinds, used}. */
function describe(counts, role, decimal) {
  const numbers = new Map();
  let [cells, plain, words] = [0, 0, 0];
  for (const [cell, times] of counts) {
    cells += times;
    const value = readEvent(cell, decimal);
    if (value === undefined) continue;
    words += times;
    if (readNumber(cell, decimal) !== undefined) plain += times;
    numbers.set(value, (numbers.get(value) ?? 0) + times);
  }
  const values = [...numbers.keys()];
  const isEvent = words >= SHARE * cells && values.every((value) => value === 0 || value === 1);
  const isNumber = !isEvent && plain >= SHARE * cells;
  const few = values.length >= LEAST_CODES && values.length <= MOST_CODES && Math.min(...numbers.values()) >= DAYS;
  const codes = isNumber && few && values.every((value) => value >= 0 && Number.isInteger(value));
  const kinds = [isEvent ? "event" : isNumber && !codes ? "number" : "", "category"].filter(Boolean);
  const many = counts.size > LABELS || (role !== "static" && 2 * counts.size > cells);
  return { kind: kinds[0], kinds, used: isEvent || isNumber || !many };
}
