// Makes the series of a /forecast body of a table, and finds the rows that the API's errors name.

import { currencyOf, findFormat, readCategory, readDay, readEvent, readNumber } from "./csv.js";

export const ROLES = ["date", "value", "series", "factor", "event"];
const FIELDS = { value: "value", fator_externo: "factor", evento_especial: "event", date: "date" };

const READERS = { number: readNumber, event: readEvent, category: readCategory };

/** The role of the column of a covariate of the model, beside ROLES. */
export const roleOf = (covariate) => `covariate:${covariate.name}`;

/**
 * Make the series of a table.
 *
 * Returns {series: [{name, history, future, fixed, from: {history: [row], future: [row]}}], faults,
 * sorted, signs}, with the rows of the table; `fixed` are the static covariates. Where a row behind
 * the last value knows a covariate, the future begins there. `faults` are {row, role, key, values}: a
 * message's key and its values. `sorted` tells whether rows had to be put in the order of their days,
 * `signs` has the currency sign of a role that has one. `covariates` are those of the model: {name,
 * role, kind}.
 */
export function build(table, mapping, decimal, covariates = []) {
  const taken = covariates.filter((covariate) => (mapping[roleOf(covariate)] ?? -1) >= 0);
  const cell = (row, role) => (mapping[role] < 0 ? "" : (row.cells[mapping[role]] ?? "").trim());
  const format = findFormat(table.rows.map((row) => cell(row, "date")));
  const other = decimal === "," ? "." : ",";
  const found = new Map();
  const faults = [];
  const signs = {};
  for (const row of table.rows) {
    if (row.out) continue;
    const before = faults.length;
    const fault = (role, key, values = {}) => faults.push({ row, role, key, values });
    if (row.cells.length > table.header.length) {
      fault(null, "fault_cells", { got: row.cells.length, expected: table.header.length });
    }
    const text = cell(row, "date");
    const date = readDay(text, format);
    if (!date) fault("date", text ? "fault_date" : "fault_date_blank");
    const read = (role, kind) => {
      const text = cell(row, role);
      const value = READERS[kind](text, decimal);
      const sign = kind === "number" && value !== undefined ? currencyOf(text) : "";
      if (sign && sign !== (signs[role] ??= sign)) fault(role, "fault_currency", { sign, first: signs[role] });
      if (value === undefined && readNumber(text, other) !== undefined) fault(role, "fault_decimal");
      else if (value === undefined) fault(role, kind === "event" ? "fault_event" : "fault_number");
      else if (kind === "event" && (value < 0 || value > 1)) fault(role, "fault_share");
      return value;
    };
    const numbers = {};
    for (const role of ["value", "factor", "event"]) numbers[role] = read(role, role === "event" ? "event" : "number");
    const own = {};
    for (const covariate of taken) own[covariate.name] = read(roleOf(covariate), covariate.kind);
    const name = mapping.series < 0 ? "series" : cell(row, "series");
    if (!name) fault("series", "fault_series_blank");
    for (const covariate of taken.filter(({ role }) => role === "static")) {
      const { name: key } = covariate;
      const before = found.get(name)?.find((d) => d.own[key] !== null)?.own[key] ?? own[key];
      if (own[key] !== null && own[key] !== before) fault(roleOf(covariate), "fault_static", { series: name, value: before });
    }
    if (faults.length > before) continue;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push({ row, date, ...numbers, own });
  }
  let sorted = false;
  const series = [...found].map(([name, days]) => {
    sorted ||= days.some(({ date }, i) => i && date < days[i - 1].date);
    days.sort((a, b) => (a.date < b.date ? -1 : Number(a.date > b.date)));
    // The API names the first day that is there twice; here all of them are shown.
    const once = days.filter(({ row, date }, i) => {
      const again = i > 0 && date === days[i - 1].date;
      if (again) faults.push({ row, role: "date", key: "p_twice", values: { date } });
      return !again;
    });
    return divide(name, once, mapping, taken);
  });
  return { series, faults, sorted, signs };
}

function divide(name, days, mapping, covariates) {
  const of = (...roles) => covariates.filter(({ role }) => roles.includes(role)).map((covariate) => covariate.name);
  const [known, daily, constant] = [of("known"), of("known", "past"), of("static")];
  const last = (fits) => days.findLastIndex(fits);
  const observed = last((d) => d.value !== null);
  // As lib/data/planned.py: a covariate behind the last value makes all rows behind it planned.
  const plans = (d) => d.factor !== null || d.event !== null || known.some((key) => d.own[key] !== null);
  const planned = observed >= 0 && last(plans) > observed;
  const count = planned ? observed + 1 : days.length;
  const pick = (d, names) => Object.fromEntries(names.map((key) => [key, d.own[key]]));
  const columns = (d, names) => ({
    ...(mapping.factor >= 0 ? { fator_externo: d.factor } : {}),
    ...(mapping.event >= 0 ? { evento_especial: d.event } : {}),
    ...pick(d, names),
  });
  const [past, ahead] = [days.slice(0, count), days.slice(count)];
  const fixed = constant.map((key) => [key, days.find((d) => d.own[key] !== null)?.own[key] ?? null]);
  return {
    name,
    history: past.map((d) => ({ date: d.date, value: d.value, ...columns(d, daily) })),
    future: ahead.map((d) => ({ date: d.date, ...columns(d, known) })),
    fixed: Object.fromEntries(fixed),
    from: { history: past.map((d) => d.row), future: ahead.map((d) => d.row) },
  };
}

/** The row and column behind a field of the API, such as series[2].history[17].value. */
export function locate(field, series) {
  const found = /^(?:series\[(\d+)\]\.?)?(history|future)\[(\d+)\](?:\.(.+))?$/.exec(field);
  if (!found) return null;
  const [, which = "0", part, index, name] = found;
  const row = series[Number(which)]?.from[part][Number(index)];
  return row ? { row, role: FIELDS[name] ?? (name ? roleOf({ name }) : null) } : null;
}

// What the API says of a row or a series, and the key of the words for it.
const KNOWN = [
  [/^(?<date>\d{4}-\d\d-\d\d) is there twice/, "p_twice"],
  [/^(?<date>\d{4}-\d\d-\d\d) comes after (?<other>\d{4}-\d\d-\d\d)/, "p_after"],
  [/^expected a number or null/, "p_number"],
  [/^expected a finite number/, "p_finite"],
  [/^expected a number from 0 to 1/, "p_share"],
  [/^expected an ISO day/, "p_day"],
  [/^expected a known value among the last (?<days>\d+) days/, "p_unknown"],
  [/^expected a day from (?<first>[\d-]{10}) to (?<last>[\d-]{10})/, "p_future"],
  [/^expected at most \d+ (?:series|days)/, "p_many"],
  [/^(?<name>[a-z0-9 -]+) data found: (?<count>\d+) values/, "p_frequency"],
  [/^is the name of an earlier series/, "p_name_twice"],
];

/** Key and values of the page's text for an error of the API, null where it has none. */
export function wording(detail) {
  for (const [pattern, key] of KNOWN) {
    const found = pattern.exec(detail);
    if (found) return { key, values: { ...found.groups } };
  }
  return null;
}

const LONGEST = 20_000; // days; what spans more has a mistyped year, and is not filled with days

/** Every day from the first of a history to its last: {days: [ISO], values: [number|null], gaps}. */
export function calendar(history) {
  const at = new Map(history.map((row) => [Date.parse(row.date), row.value]));
  const all = [...at.keys()];
  // Oldest day first, as `build` has sorted them.
  const [first, last] = [all[0], all.at(-1)];
  const days = [];
  const values = [];
  let gaps = 0;
  const whole = last - first <= LONGEST * 864e5;
  const times = whole ? Array.from({ length: (last - first) / 864e5 + 1 }, (_, i) => first + i * 864e5) : all;
  for (const time of times) {
    const value = at.get(time) ?? null;
    if (value === null && values.length && values.at(-1) !== null) gaps++;
    days.push(new Date(time).toISOString().slice(0, 10));
    values.push(value);
  }
  if (values.length && values[0] === null) gaps++;
  return { days, values, gaps, missing: values.filter((value) => value === null).length };
}
