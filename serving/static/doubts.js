// What a reader should doubt: an upload unlike the data that the model has learned from, and the
// warnings of the API.

import { day, number, t } from "./i18n.js";

const WEEKDAYS = ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];

const TIMES = 10; // a level so many times beyond those learned is another one
const SHOWN = 5;
const NAMED = 12; // covariates

/** What the served model has learned from, "" where it does not say. */
export function learned(card) {
  if (card?.any_covariates) return t("learned_any");
  const data = card?.settings.data;
  if (!data) return "";
  const [first, last] = card.training_span;
  const span = { first: day(first), last: day(last) };
  const count = t("model_series", { count: number(data.series, 0) });
  return t("learned", { data: [data.name, count].filter(Boolean).join(" · "), ...span });
}

/** Sentences on series that are unlike those that the model has learned. */
export function unlike(card, series) {
  const data = card?.settings.data;
  if (!data) return [];
  const words = [];
  const names = new Set(data.names ?? []);
  const unknown = names.size ? series.filter((one) => !names.has(one.name)) : [];
  // One series without a name is no other than the one learned.
  const unnamed = series.length === 1 && series[0].name === "series";
  if (unknown.length && !unnamed) words.push(t("unlike_series", listed(unknown, series)));
  const [low, high] = data.levels ?? [];
  const far = series.filter((one) => {
    const level = median(one.history.map((row) => row.value).filter((value) => value !== null).map(Math.abs));
    return low !== undefined && level > 0 && (level < low / TIMES || level > high * TIMES);
  });
  const key = series.length > 1 ? "unlike_level" : "unlike_level_one";
  if (far.length) words.push(t(key, { ...listed(far, series), low: number(low), high: number(high) }));
  return words;
}

/**
 * Sentences on columns that the model cannot use as it should: one chosen that it has not learned,
 * and none chosen for what it has. `columnOf(role)` is the name of the chosen column.
 */
export function unlearned(card, columnOf) {
  const learned = card?.learned;
  if (!learned || card.any_covariates) return []; // it does not say, or learns from this file
  // Holidays come by themselves where no events are sent.
  const holidays = card.covariates.some(({ kind }) => kind === "holiday");
  return [["factor", "fator_externo"], ["event", "evento_especial"]].flatMap(([role, field]) => {
    const [column, known] = [columnOf(role), learned.includes(field)];
    if (column && !known) return [t(`unlearned_${role}`, { column })];
    return known && !column && !(holidays && role === "event") ? [t(`lacking_${role}`)] : [];
  });
}

/** The warnings of an answer, each with the name of its series. */
export function warned(warnings, sent) {
  return (warnings ?? []).map(({ field, detail }) => {
    const found = /^series\[(\d+)\]/.exec(field);
    const whole = OF_ALL.test(detail);
    const name = found && sent.length > 1 && !whole ? sent[Number(found[1])].series_id : "";
    return [name, worded(detail)].filter(Boolean).join(": ");
  });
}

function listed(some, all) {
  const names = some.slice(0, SHOWN).map((one) => one.name).join(", ");
  return { names: some.length > SHOWN ? `${names}, …` : names, count: number(some.length, 0), all: number(all.length, 0) };
}

function median(values) {
  if (!values.length) return 0;
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

const OF_ALL = /^no model has been trained yet/; // of the call, whatever its field
const KNOWN = [
  [/^no model has been trained yet: .*, calibrated on the series of this call; covariates: (?<covariates>.+)$/, "w_untrained_with"],
  [/^no model has been trained yet: .*, calibrated on the series of this call$/, "w_untrained"],
  [/^closed on (?<days>.+): 0 is forecast there$/, "w_closed"],
  [/^ends on (?<date>[\d-]{10}), (?<days>\d+) days before/, "w_ended"],
  [/^only (?<known>\d+) of (?<days>\d+) days are known/, "w_sparse"],
  [/^(?<known>\d+) days? known: the level from \w+, week and year from the series that were learned$/, "w_young"],
  [/^(?<known>\d+) days? known: the level from \w+, week and year from what/, "w_young_alone"],
  [/^(?<known>\d+) days known: the level and part of the week .* from the series that were learned$/, "w_young_week"],
  [/^(?<known>\d+) days known: the level and part of the week .* from what/, "w_young_week_alone"],
];

function worded(detail) {
  for (const [pattern, key] of KNOWN) {
    const found = pattern.exec(detail);
    if (found) return t(key, translated(found.groups));
  }
  return detail;
}

/** The groups of a warning, its weekdays and covariates in the language of the page. */
function translated({ days, covariates, ...rest } = {}) {
  const named = days?.split(" and ").map((name) => {
    const at = WEEKDAYS.indexOf(name);
    return at < 0 ? name : day(`2024-01-0${at + 1}`, { weekday: "long" }); // a Monday
  });
  return { ...rest, days: named?.join(", "), covariates: covariates && described(covariates) };
}

const COVARIATE = /(?<name>.+?) \((?<kind>number|event|category), (?<role>known ahead|known up to today|of the series)\)(?:, |$)/g;
const ROLE = { "known ahead": "known", "known up to today": "past", "of the series": "static" };

/** The covariates that a warning lists, in the language of the page. */
function described(listed) {
  const words = [...listed.matchAll(COVARIATE)].map(({ groups: { name, kind, role } }) =>
    t("covariate_kind", { name, kind: t(`as_${kind}`), role: t(`role_${ROLE[role]}`) }));
  return words.length > NAMED ? `${words.slice(0, NAMED).join(", ")}, …` : words.join(", ");
}
