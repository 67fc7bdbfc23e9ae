// The forecast: request it, have it drawn, list it, offer it as CSV.

import { Problem, call } from "./api.js";
import * as data from "./data.js";
import { learned, unlearned, unlike, warned } from "./doubts.js";
import { $, fill, h, save } from "./dom.js";
import { drawFan, share } from "./fan.js";
import { day, digits, lang, number, onLanguage, t } from "./i18n.js";
import * as planning from "./planning.js";

const DOUBTS = 8; // shown at once
let card = null; // of the model
let answer = null; // of /forecast, for the series in `sent`
let sent = [];
let shownDays = innerWidth < 640 ? 92 : 183; // where there is room for them
let noted = null; // [key, values] of the note beside the button
let listener = { explain: () => {}, forecast: () => {} };

/** Set up the section. `on.forecast(forecast | null)` and `on.explain(day)` are called on changes. */
export function start(on) {
  listener = on;
  data.start(changed);
  planning.start(draw);
  $("#example").addEventListener("click", async () => {
    await data.example();
    if (card) await run();
  });
  $("#data-form").addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  $("#horizon").addEventListener("input", showHorizon);
  $("#series-pick").addEventListener("change", () => {
    show();
    tellForecast();
  });
  $("#ranges").addEventListener("click", (event) => {
    const days = event.target.dataset.days;
    if (days === undefined) return;
    shownDays = Number(days);
    showRange();
    draw();
  });
  showRange();
  $("#download").addEventListener("click", download);
  onLanguage(() => {
    showHorizon();
    showIntervals();
    show();
    note(...(noted ?? [null]));
    showDoubts();
  });
}

/** Show what the model has learned from, and where this upload or its answer is to be doubted. */
function showDoubts() {
  $("#learned").textContent = learned(card);
  const columns = data.current.series.length ? unlearned(card, data.columnOf) : [];
  const words = [...columns, ...unlike(card, data.current.series), ...warned(answer?.warnings, sent)];
  const more = words.length - DOUBTS;
  const items = words.slice(0, DOUBTS).concat(more > 0 ? [t("doubts_more", { count: number(more, 0) })] : []);
  fill($("#doubts"), ...items.map((text) => h("li", {}, text)));
  $("#doubts").hidden = !items.length;
}

/** Take the limits of the served model. */
export function useModel(found) {
  const first = !card || card.horizon !== found.horizon;
  card = found;
  planning.useModel(card);
  data.useModel(card);
  if (first) {
    Object.assign($("#horizon"), { max: card.horizon });
    $("#horizon").value = card.horizon;
    showIntervals();
  }
  showHorizon();
  showDoubts();
  enable();
}

/** The pairs of levels that make an interval around the median, widest first: [[low, high]]. */
function pairs() {
  const levels = card?.quantiles ?? [];
  const close = (a) => levels.find((b) => Math.abs(a + b - 1) < 1e-9);
  return levels.filter((a) => a < 0.5 && close(a) !== undefined).map((a) => [a, close(a)]);
}

const chosen = () => pairs().filter((pair) => $(`#interval-${share(pair)}`)?.checked);
const picked = () => Math.max(0, data.current.series.findIndex((s) => s.name === $("#series-pick").value));

function showIntervals() {
  if (!card) return;
  const before = new Map([...$("#intervals").querySelectorAll("input")].map((box) => [box.id, box.checked]));
  const boxes = pairs().map((pair) => {
    const id = `interval-${share(pair)}`;
    const box = h("input", { type: "checkbox", id, checked: before.get(id) ?? true, onchange: redrawIntervals });
    return h("label", { for: id }, box, `${share(pair)} %`);
  });
  fill($("#intervals"), ...boxes);
}

function redrawIntervals() {
  showPlan();
  draw();
  list();
}

function showRange() {
  for (const button of $("#ranges").children) button.setAttribute("aria-pressed", Number(button.dataset.days) === shownDays);
}

function showHorizon() {
  $("#horizon-shown").textContent = t("days", { count: $("#horizon").value });
}

function changed() {
  answer = null;
  note(null);
  const names = data.current.series.map((s) => s.name);
  const before = $("#series-pick").value;
  fill($("#series-pick"), ...names.map((name) => h("option", { value: name }, name)));
  if (names.includes(before)) $("#series-pick").value = before;
  show();
  showDoubts();
  enable();
  tellForecast();
}

function enable() {
  $("#run").disabled = !card || !data.current.series.length || data.current.faults.length > 0;
}

function note(key, values = {}) {
  noted = key ? [key, values] : null;
  $("#run-note").textContent = key ? t(key, values) : "";
  $("#run-note").classList.remove("fault");
}

async function run() {
  if ($("#run").disabled) return;
  const series = data.current.series;
  const rows = series.map(({ name, history, future, fixed }) => ({
    series_id: name,
    history,
    ...(Object.keys(fixed).length ? { static: fixed } : {}),
    future: future.filter((row) => Date.parse(row.date) <= Date.parse(history.at(-1).date) + card.horizon * 864e5),
  }));
  const body = { series: rows, horizon: Number($("#horizon").value) };
  // All that can be shown, so that a box ticked later needs no call.
  const levels = [0.5, ...pairs().flat()].filter((level) => card.quantiles.includes(level));
  body.levels = levels.sort((a, b) => a - b);
  Object.assign(body, planning.fields(rows, body.horizon));
  note("running");
  $("#run").disabled = true;
  try {
    const found = await call("/forecast", body);
    if (series !== data.current.series) return; // other rows were loaded meanwhile
    answer = found;
    sent = rows;
    data.refuse([]);
    note(found.model_version ? "done" : "done_pretrained", { days: body.horizon, version: found.model_version });
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    answer = null;
    const rest = data.refuse(problem.errors);
    note(null);
    const words = rest.map((item) => {
      const of = /^series\[(\d+)\]/.exec(item.field ?? "");
      const name = of && rows.length > 1 ? rows[Number(of[1])].series_id : item.key === "problem_other" ? item.field : "";
      return [name, t(item.key, item.values)].filter(Boolean).join(": ");
    });
    if (!problem.errors.length) words.push(problem.words);
    $("#run-note").textContent = words.join(" · ") || t("errors_title");
    $("#run-note").classList.add("fault");
  } finally {
    enable();
  }
  showDoubts();
  show();
  tellForecast();
}

function tellForecast() {
  const i = picked();
  // An explanation is calibrated on its own series, where no model was trained.
  const alone = Boolean(card?.any_covariates) && sent.length > 1;
  const found = answer && { ...sent[i], days: answer.forecasts[i].forecast, version: answer.model_version, alone };
  listener.forecast(found);
}

function show() {
  const several = data.current.series.length > 1;
  $("#series-pick").hidden = !several;
  showPlan();
  draw();
  list();
}

function showPlan() {
  const horizon = answer?.forecasts[picked()].forecast.length;
  planning.show(answer, sent, picked(), chosen(), horizon);
}

function draw() {
  const ahead = answer?.forecasts[picked()]?.forecast ?? [];
  drawFan(data.current.series[picked()], ahead, { intervals: chosen(), other: planning.overlay(), shownDays });
}

function list() {
  $("#table-card").hidden = !answer;
  if (!answer) return;
  const intervals = chosen();
  const rows = answer.forecasts[picked()].forecast;
  const head = [
    h("th", { scope: "col" }, t("table_date")),
    h("th", { scope: "col" }, t("table_median")),
    h("th", { scope: "col" }, t("table_mean")),
    ...intervals.map((pair) => h("th", { scope: "col" }, `${share(pair)} %`)),
    h("th", { scope: "col" }, h("span", { class: "quiet" }, t("table_why"))),
  ];
  const behind = digits(rows.map((row) => row.prediction));
  const figure = (value) => number(value, behind);
  const oneYear = rows[0].date.slice(0, 4) === rows.at(-1).date.slice(0, 4);
  const form = { weekday: "short", day: "numeric", month: "short" };
  const body = rows.map((row, i) => {
    const date = day(row.date, oneYear ? form : { ...form, year: "numeric" });
    const why = { type: "button", "aria-label": t("table_why_label", { date }), onclick: () => listener.explain(i + 1) };
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, date),
      h("td", { class: "mid" }, figure(row.prediction)),
      h("td", {}, figure(row.mean)),
      ...intervals.map(([low, high]) => h("td", {}, `${figure(row.quantiles[String(low)])} – ${figure(row.quantiles[String(high)])}`)),
      h("td", {}, h("button", why, t("table_why"))),
    );
  });
  fill($("#table"), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body));
  $("#made-by").textContent = t(answer.model_version ? "made_by" : "made_by_pretrained", { version: answer.model_version, trace: answer.trace_id.slice(0, 8) });
}

/** All series, as the spreadsheets of the language read it. */
function download() {
  const [separator, mark] = lang() === "pt-BR" ? [";", ","] : [",", "."];
  const figure = (value) => String(value).replace(".", mark);
  // A name that a spreadsheet would take for a formula is made text.
  const text = (value) => `"${value.replace(/^(?=[=+\-@\t])/, "'").replaceAll('"', '""')}"`;
  const names = answer.levels.map(String);
  const lines = [["series_id", "date", "prediction", ...names.map((name) => `q${name}`), "mean"].join(separator)];
  for (const { series_id, forecast } of answer.forecasts) {
    for (const row of forecast) {
      const numbers = [row.prediction, ...names.map((name) => row.quantiles[name]), row.mean].map(figure);
      lines.push([text(series_id), row.date, ...numbers].join(separator));
    }
  }
  const blob = new Blob([`\uFEFF${lines.join("\r\n")}\r\n`], { type: "text/csv" });
  save(blob, `forecast-v${answer.model_version}-${answer.forecasts[0].forecast[0].date}.csv`);
}
