// The table in which a scenario plans the days ahead.

import { columnOf, plannedOwn } from "./data.js";
import { $, fill, h } from "./dom.js";
import { day, t } from "./i18n.js";

/** The covariates of a model's card that can be planned, by the names of the reader's columns. */
export function plannable(card) {
  const learnt = (card?.covariates ?? []).filter(({ role, kind }) => role === "known" && kind !== "holiday");
  const own = card?.any_covariates ? plannedOwn() : learnt;
  const usual = [
    { name: "evento_especial", words: columnOf("event") || t("column_event"), kind: "event" },
    { name: "fator_externo", words: columnOf("factor") || t("column_factor"), kind: "number" },
  ];
  // A model that says what it has learned is asked for nothing else; one that learns from the file,
  // for nothing that is not in it.
  const chosen = { evento_especial: columnOf("event"), fator_externo: columnOf("factor") };
  const has = ({ name }) => (card?.any_covariates ? chosen[name] : !card?.learned || card.learned.includes(name));
  return [...usual.filter(has), ...own.map((covariate) => ({ ...covariate, words: covariate.name }))];
}

/** The planned days in a table; an empty cell stays as it is planned in the file. */
export function showPlan(scenario, { answer, at, sent }, card) {
  const planned = new Map(sent[at].future.map((row) => [row.date, row]));
  const columns = plannable(card);
  const head = h(
    "tr",
    {},
    h("th", { scope: "col" }, t("table_date")),
    ...columns.map(({ words }) => h("th", { scope: "col" }, words)),
  );
  const rows = answer.forecasts[at].forecast.map(({ date }) => {
    const when = day(date, { weekday: "short", day: "numeric", month: "short" });
    const cells = columns.map((column) => {
      const [kept, before] = [scenario.cells[date]?.[column.name] ?? "", planned.get(date)?.[column.name] ?? ""];
      const change = (value) => ((scenario.cells[date] ??= {})[column.name] = value === "" ? undefined : value);
      return h("td", {}, plannedCell(column, when, kept, before, change));
    });
    return h("tr", {}, h("th", { scope: "row" }, when), ...cells);
  });
  fill($("#scenario-days"), h("thead", {}, head), h("tbody", {}, ...rows));
}

/** The field of a planned day: a number, or one of the categories of a covariate. */
function plannedCell({ kind, labels, words }, when, kept, before, change) {
  const label = `${words}, ${when}`;
  if (kind === "category") {
    // A blank is a value too, where days without a name are those without a promotion.
    const options = labels.map((name) => {
      const value = name || " ";
      return h("option", { value, selected: value === kept }, name || t("category_none"));
    });
    const onchange = (event) => change(event.target.value);
    return h("select", { "aria-label": label, onchange }, h("option", { value: "" }, String(before)), ...options);
  }
  return h("input", {
    type: "number",
    step: "any",
    ...(kind === "event" ? { min: 0, max: 1 } : {}),
    "aria-label": label,
    placeholder: before,
    value: kept,
    oninput: ({ target }) => change(target.value === "" ? "" : Number(target.value)),
  });
}
