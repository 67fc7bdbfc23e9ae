// How much is needed: totals, an order for a lead time, and scenarios of the days ahead.

import { Problem, call } from "./api.js";
import { $, fill, h } from "./dom.js";
import { share } from "./fan.js";
import { day, digits, number, onLanguage, signed, t } from "./i18n.js";
import { plannable, showPlan } from "./scenario.js";

const MOST = 3; // scenarios
let card = null; // of the model
let shown = null; // {answer, sent, at, intervals, horizon}
let ranges = []; // of the totals that were asked for: {text, key}
let order = null; // of the series that is shown
let scenarios = []; // {name, cells: {date: {fator_externo, evento_especial}}, found}
let picked = 0;
let redraw = () => {};

/** Set up the cards; `changed()` is called when a scenario is to be drawn or not any more. */
export function start(changed) {
  redraw = changed;
  $("#order-form").addEventListener("submit", (event) => {
    event.preventDefault();
    workOut();
  });
  $("#scenario-form").addEventListener("submit", (event) => {
    event.preventDefault();
    compare();
  });
  $("#scenario-new").addEventListener("click", () => add({}));
  $("#scenario-copy").addEventListener("click", () => add(structuredClone(current()?.cells ?? {})));
  $("#scenario-remove").addEventListener("click", remove);
  $("#scenario-pick").addEventListener("change", (event) => {
    picked = Number(event.target.value);
    showScenarios();
    redraw();
  });
  $("#scenario-name").addEventListener("input", (event) => {
    if (!current()) return;
    current().name = event.target.value;
    const option = $("#scenario-pick").options[picked];
    if (option) option.textContent = event.target.value;
  });
  onLanguage(() => shown && showAll());
}

/** Take the served model: one of an earlier release has no totals. */
export function useModel(found) {
  card = found;
}

/** The fields of /forecast that ask for totals of these rows. */
export function fields(rows, horizon) {
  ranges = [];
  if (!card?.totals) return {};
  const ends = new Set(rows.map((row) => row.history.at(-1).date));
  if (ends.size === 1) {
    // From the first day ahead to Sunday, and the week after it.
    const weekday = new Date(Date.parse([...ends][0]) + 864e5).getUTCDay();
    const rest = weekday === 0 ? 1 : 8 - weekday;
    if (rest <= horizon) ranges.push({ text: `1-${rest}`, key: "plan_this_week" });
    if (rest + 7 <= horizon) ranges.push({ text: `${rest + 1}-${rest + 7}`, key: "plan_next_week" });
  }
  const whole = { text: `1-${horizon}`, key: "plan_whole" };
  if (!ranges.some(({ text }) => text === whole.text)) ranges.push(whole);
  const together = rows.length > 1 && ends.size === 1;
  return { totals: ranges.map(({ text }) => text), ...(together ? { groups: { all: true } } : {}) };
}

/** Show what an answer says of a series; `answer` is null before there is one. */
export function show(answer, sent, at, intervals, horizon) {
  const before = shown;
  shown = answer && answer.forecasts[at].totals ? { answer, sent, at, intervals, horizon } : null;
  const same = shown && before && before.answer === answer && before.at === at;
  if (!same) {
    order = null;
    for (const scenario of scenarios) scenario.found = null;
  }
  for (const id of ["#plan-card", "#order-card"]) $(id).hidden = !shown;
  $("#scenario-card").hidden = !shown || !plannable(card).length;
  if (shown) showAll();
}

/** The scenario to draw: its name and its days, null for none. */
export function overlay() {
  const found = shown && current()?.found;
  return found ? { name: current().name, days: found.forecast } : null;
}

const current = () => scenarios[picked];
const name = () => shown.sent[shown.at].series_id;

function showAll() {
  showTotals();
  $("#order-days").max = shown.horizon;
  showOrder();
  showScenarios();
}

function heads(first) {
  return h(
    "thead",
    {},
    h(
      "tr",
      {},
      h("th", { scope: "col" }, first),
      h("th", { scope: "col" }, t("plan_mean")),
      ...shown.intervals.map((pair) => h("th", { scope: "col" }, `${share(pair)} %`)),
    ),
  );
}

function line(words, total, figure) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, words),
    h("td", { class: "mid" }, figure(total.mean)),
    ...shown.intervals.map(([low, high]) => h("td", { class: "span" }, `${figure(total.quantiles[low])} –`, " ", `${figure(total.quantiles[high])}`)),
  );
}

function period(total, key) {
  const form = { weekday: "short", day: "numeric", month: "short" };
  return t(key, { days: total.days, first: day(total.first, form), last: day(total.last, form) });
}

function showTotals() {
  const { answer, at } = shown;
  const own = answer.forecasts[at].totals;
  const all = answer.groups?.all.totals ?? [];
  const behind = digits(own.map((total) => total.mean));
  const figure = (value) => number(value, behind);
  const rows = own.map((total, i) => line(period(total, ranges[i]?.key ?? "plan_whole"), total, figure));
  const together = all.map((total, i) =>
    line(`${t("plan_all")}: ${period(total, ranges[i]?.key ?? "plan_whole")}`, total, figure));
  fill($("#totals"), heads(t("plan_period")), h("tbody", {}, ...rows, ...together));
}

// A network that is calibrated on the series of a call is sent all of them, to forecast as before.
const seriesFor = ({ sent, at }) => (card.any_covariates ? sent : [sent[at]]);
const forecastOf = (found, { sent, at }) => found.forecasts.find((one) => one.series_id === sent[at].series_id);

async function workOut() {
  if (!shown) return;
  const asked = shown;
  const field = (id) => Number($(id).value);
  const wanted = {
    lead_time: field("#order-days"),
    service_level: field("#order-level") / 100,
    stock: field("#order-stock"),
  };
  const body = { series: seriesFor(asked), horizon: asked.horizon, order: wanted };
  const found = await request(body, $("#order-note"), t("order_running"));
  if (!found || asked !== shown) return;
  order = forecastOf(found, asked).order;
  showOrder();
}

/** Call /forecast, with what happens in a note. Returns null where it is refused. */
async function request(body, element, running) {
  element.textContent = running;
  element.classList.remove("fault");
  try {
    const found = await call("/forecast", body);
    element.textContent = "";
    return found;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    element.textContent = problem.words;
    element.classList.add("fault");
    return null;
  }
}

function showOrder() {
  const element = $("#order");
  element.hidden = !order;
  if (!order) return;
  const behind = digits([order.expected_demand]);
  const rows = [
    ["order_quantity", order.quantity],
    ["order_demand", order.expected_demand],
    ["order_shortage", order.expected_shortage],
    ["order_leftover", order.expected_leftover],
  ];
  const form = { day: "numeric", month: "short" };
  const note = t("order_of", { series: name(), first: day(order.first, form), last: day(order.last, form) });
  fill(element, ...rows.map(([key, value]) => h("div", {}, h("dt", {}, t(key)), h("dd", {}, number(value, behind)))));
  $("#order-note").textContent = note;
}

function add(cells) {
  if (scenarios.length >= MOST) return;
  scenarios.push({ name: t("scenario_default", { number: scenarios.length + 1 }), cells, found: null });
  picked = scenarios.length - 1;
  showScenarios();
  redraw();
  $("#scenario-name").focus();
}

function remove() {
  scenarios.splice(picked, 1);
  picked = Math.max(0, scenarios.length - 1);
  showScenarios();
  redraw();
  $("#scenario-new").focus();
}

function showScenarios() {
  const scenario = current();
  fill($("#scenario-pick"), ...scenarios.map((each, i) => h("option", { value: i, selected: i === picked }, each.name)));
  $("#scenario-pick").value = String(picked);
  $("#scenario-choice").hidden = scenarios.length < 2;
  $("#scenario-editor").hidden = !scenario;
  for (const id of ["#scenario-new", "#scenario-copy"]) $(id).disabled = scenarios.length >= MOST;
  for (const id of ["#scenario-copy", "#scenario-remove"]) $(id).hidden = !scenario;
  $("#scenario-result").hidden = !scenario?.found;
  if (!scenario) return;
  $("#scenario-name").value = scenario.name;
  showPlan(scenario, shown, card);
  if (scenario.found) showDifference(scenario);
}

async function compare() {
  const scenario = current();
  if (!shown || !scenario || !$("#scenario-form").reportValidity()) return;
  const asked = shown;
  const rows = asked.answer.forecasts[asked.at].forecast
    .map(({ date }) => ({ date, ...scenario.cells[date] }))
    .filter(({ date, ...cells }) => Object.values(cells).some((value) => value !== undefined));
  const note = $("#scenario-note");
  note.classList.remove("fault");
  if (!rows.length) {
    note.textContent = t("scenario_empty");
    return;
  }
  const body = {
    series: seriesFor(asked),
    horizon: asked.horizon,
    levels: asked.answer.levels,
    totals: ranges.map(({ text }) => text),
    scenarios: { [scenario.name.trim() || t("scenario_default", { number: picked + 1 })]: card.any_covariates ? { [name()]: rows } : rows },
  };
  const found = await request(body, note, t("scenario_running"));
  if (!found || asked !== shown) return;
  [scenario.found] = Object.values(forecastOf(found, asked).scenarios);
  showScenarios();
  redraw();
}

function showDifference({ found }) {
  const behind = digits(found.totals.map((total) => total.mean));
  const rows = found.totals.flatMap((total, i) => [
    line(period(total, ranges[i]?.key ?? "plan_whole"), total, (value) => number(value, behind)),
    line(t("scenario_difference"), found.difference[i], (value) => signed(value, behind)),
    ...parts(found.difference[i], behind),
  ]);
  fill($("#scenario-totals"), heads(t("plan_period")), h("tbody", {}, ...rows));
}

/** What makes up a difference, the largest part first; nothing where that is a single covariate. */
function parts(difference, behind) {
  const found = Object.entries(difference.by_covariate ?? {}).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  if (found.length < 2) return [];
  const words = new Map(plannable(card).map((column) => [column.name, column.words]));
  return found.map(([name, part]) =>
    h(
      "tr",
      { class: "part" },
      h("th", { scope: "row" }, t("scenario_part", { name: words.get(name) ?? name })),
      h("td", {}, signed(part, behind)),
      shown.intervals.length ? h("td", { colspan: shown.intervals.length }) : null,
    ),
  );
}
