// The explanation of a forecast: request it, wait for it, show contributions that add up.

import { Problem, call, file } from "./api.js";
import { $, fill, h, save } from "./dom.js";
import { day, digits, number, onLanguage, signed, t } from "./i18n.js";

const PAUSE = 600; // milliseconds between two looks
const PATIENCE = 20; // seconds in the queue after which the page says that no worker may be running

let forecast = null;
let result = null; // {id, explanation, version}
let waiting = null; // what is being waited for; another object ends the wait

/** Set up the section. */
export function start() {
  $("#why-form").addEventListener("submit", (event) => {
    event.preventDefault();
    explain(Number($("#why-day").value));
  });
  $("#why-picture").addEventListener("click", async () => {
    const { id } = result;
    try {
      save(await file(`/explanations/${id}/plot.png`), `why-${id.slice(0, 8)}.png`);
      complain("");
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      complain(problem.words);
    }
  });
  onLanguage(() => {
    showDays();
    show();
  });
}

/** Take another forecast, null for none: {history, future, static, days, version, alone}. */
export function useForecast(found) {
  if (found === forecast) return;
  forecast = found;
  waiting = result = null;
  $("#why-empty").hidden = Boolean(found);
  $("#why-form").hidden = !found;
  progress(null);
  complain("");
  showDays();
  show();
}

/** Ask for the explanation of a day ahead, 1 for the first, 0 for the mean of all. */
export async function explain(step) {
  $("#why-day").value = step;
  $("#why").scrollIntoView();
  const mine = (waiting = {});
  const { history, future, static: fixed, series_id } = forecast;
  result = null;
  show();
  complain("");
  $("#why-run").disabled = true;
  const began = performance.now();
  try {
    progress("queued", 0);
    const body = { series_id, history, horizon_day: step, ...(future.length ? { future } : {}), ...(fixed ? { static: fixed } : {}) };
    const { explanation_id: id } = await call("/request-explanation", body);
    while (waiting === mine) {
      const state = await look(id);
      if (waiting !== mine) return;
      const seconds = (performance.now() - began) / 1000;
      if (state.status === "failed") {
        complain(t("why_failed", { error: state.error }));
        return;
      }
      if (state.status === "done") {
        result = { id, explanation: state.result, version: state.model_version };
        show();
        $("#why-sentence").focus({ preventScroll: true });
        return;
      }
      if (state.status) progress(state.status, seconds);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (waiting === mine) complain(problem.words);
  } finally {
    if (waiting === mine) {
      progress(null);
      waiting = null;
    }
    $("#why-run").disabled = false;
  }
}

/** Fetch the state; its status is null while the store is busy. */
async function look(id) {
  try {
    return await call(`/explanations/${id}`);
  } catch (problem) {
    if (problem instanceof Problem && problem.status === 503 && problem.retryAfter) return { status: null };
    throw problem;
  }
}

function progress(status, seconds = 0) {
  $("#why-progress").hidden = !status;
  if (!status) return;
  const slow = status === "queued" && seconds > PATIENCE;
  const words = slow ? t("why_no_worker") : t(`why_${status}`);
  // Whole fives: a screen reader says each change.
  const passed = seconds >= 5 ? ` · ${t("why_seconds", { seconds: 5 * Math.floor(seconds / 5) })}` : "";
  $("#why-status").textContent = words + passed;
}

function complain(words) {
  $("#why-fault").textContent = words;
  $("#why-fault").hidden = !words;
}

function showDays() {
  if (!forecast) return;
  const before = $("#why-day").value;
  const options = forecast.days.map((row, i) => h("option", { value: i + 1 }, long(row.date)));
  // The mean is over the model's whole horizon, which is what is shown only where all of it is.
  fill($("#why-day"), ...options, h("option", { value: 0 }, t("why_mean")));
  $("#why-day").value = [...$("#why-day").options].some((o) => o.value === before) ? before : "1";
}

const long = (date) => day(date, { weekday: "short", day: "numeric", month: "short", year: "numeric" });

function show() {
  $("#why-result").hidden = !result;
  if (!result) return;
  const e = result.explanation;
  const row = forecast.days[e.horizon_day - 1];
  const difference = e.output_value - e.base_value;
  const behind = digits([e.output_value, e.base_value]);
  $("#why-sentence").textContent = t(difference >= 0 ? "why_above" : "why_below", {
    date: row ? long(row.date) : t("why_mean"),
    output: number(e.output_value, behind),
    difference: number(Math.abs(difference), behind),
    base: number(e.base_value, behind),
  });
  // Another may have been promoted since the forecast.
  $("#why-version").hidden = result.version === forecast.version;
  $("#why-version").textContent = t("why_version", { version: result.version, before: forecast.version });
  $("#why-alone").hidden = !forecast.alone;
  bars(e, behind);
  map(e);
  const percent = 100 * e.additivity_error;
  const error = percent < 0.01 ? `< ${number(0.01, 2)} %` : `${number(percent, 2)} %`;
  $("#why-sum-note").textContent = t("why_sum_note", { error });
  $("#why-level").textContent = t(e.base_of_series ? "why_level_series" : "why_level", { windows: e.background_windows });
}

/** Label of a feature, with its name as a hint; a covariate has the name that the user gave it. */
const feature = (name) => h("span", { title: name }, t(`f_${name}`).replace(/^f_/, ""));

/** From the base to the forecast, each bar beginning where the one before ended. */
function bars(e, behind) {
  const shares = Object.entries(e.by_feature).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
  const stops = shares.reduce((all, [, value]) => [...all, all.at(-1) + value], [e.base_value]);
  const [low, high] = [Math.min(...stops), Math.max(...stops)];
  const room = (high - low || 1) * 0.02;
  const position = (value) => (100 * (value - low + room)) / (high - low + 2 * room);
  const edge = (words, value) =>
    h("tr", { class: "edge" }, h("th", { scope: "row" }, words), h("td", {}, track([], value)), h("td", { class: "figure" }, number(value, behind)));
  const track = (bar, zero) => {
    const element = h("div", { class: "track" }, ...bar);
    element.style.setProperty("--zero", `${position(zero)}%`);
    return element;
  };
  const rows = shares.map(([name, value], i) => {
    const [from, to] = [position(stops[i]), position(stops[i + 1])];
    const bar = h("i", { class: value >= 0 ? "more" : "less" });
    bar.style.left = `${Math.min(from, to)}%`;
    bar.style.width = `${Math.abs(to - from)}%`;
    return h("tr", {}, h("th", { scope: "row" }, feature(name)), h("td", {}, track([bar], e.base_value)), h("td", { class: "figure" }, signed(value, behind)));
  });
  const head = h("tr", {}, h("th", { scope: "col" }, t("why_feature")), h("td", {}), h("th", { scope: "col", class: "figure" }, t("why_share")));
  fill($("#why-bars"), h("thead", {}, head), h("tbody", {}, edge(t("why_base"), e.base_value), ...rows, edge(t("why_sum"), e.output_value)));
}

function map(e) {
  // The map's columns: blocks from the last day back, then what lies ahead. A browser puts keys
  // that are numbers first, so their order is made again.
  const start = (name) => (name === "ahead" ? Infinity : parseInt(name, 10));
  const blocks = Object.keys(e.by_day).sort((a, b) => start(a) - start(b));
  // Oldest days first, what lies ahead last, as time goes.
  const order = [...blocks.keys()].slice(0, -1).reverse().concat(blocks.length - 1);
  const names = Object.keys(e.by_feature);
  const behind = digits(e.feature_by_day.flat());
  const rows = names.map((name, i) => [name, e.feature_by_day[i]]).sort(([a], [b]) => Math.abs(e.by_feature[b]) - Math.abs(e.by_feature[a]));
  const largest = Math.max(...e.feature_by_day.flat().map(Math.abs), 1e-12);
  const cell = (value) => {
    const element = h("td", {}, Math.abs(value) < largest / 200 ? "·" : signed(value, behind));
    const strength = Math.round(42 * Math.sqrt(Math.abs(value) / largest)) / 100;
    element.style.background = `rgba(var(--${value >= 0 ? "more" : "less"}), ${strength})`;
    return element;
  };
  const column = (i) => (blocks[i] === "ahead" ? t("why_ahead") : blocks[i].replace("-", "–"));
  const head = [h("td", {}), ...order.map((i) => h("th", { scope: "col" }, column(i))), h("th", { scope: "col" }, t("why_total"))];
  const body = rows.map(([name, values]) =>
    h("tr", {}, h("th", { scope: "row" }, feature(name)), ...order.map((i) => cell(values[i])), h("td", { class: "sum" }, signed(e.by_feature[name], behind))),
  );
  fill($("#why-map"), h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...body));
}
