// Health of the model: what answers, what it was measured at, what the last check found.

import { Problem, call } from "./api.js";
import { chart } from "./charts.js";
import { $, fill, h } from "./dom.js";
import { day, moment, number, onLanguage, t } from "./i18n.js";
import { showSeries } from "./series.js";

const EVERY = 30_000; // milliseconds between two looks, while the page is visible

let health = null;
let card = null;
let monitoring = null;
let onModel = () => {};

/** Set up the section. `useModel(card)` is called with the served model, once it is known. */
export async function start(useModel) {
  onModel = useModel;
  onLanguage(show);
  setInterval(() => document.hidden || look(), EVERY);
  await look();
}

async function look() {
  try {
    health = await call("/health", undefined, [503]);
    if (health.model_version !== null && health.model_version !== card?.model_version) {
      card = await call("/model");
      onModel(card);
    }
    if (health.model_version === null) card = null;
    monitoring = await call("/monitoring");
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (problem.status !== 401) health = { status: "unavailable", model_version: null, detail: problem.words };
  }
  show();
}

function show() {
  if (health) showStatus();
  if (card) showBacktest();
  if (health) showServed();
  if (monitoring) showMonitoring();
}

function showStatus() {
  const ok = health.model_version !== null;
  $("#status").dataset.state = ok ? "ok" : "none";
  const source = t(`source_${health.source}`);
  const served = health.source === "pretrained" ? source : t("status_ok", { version: health.model_version, source });
  const words = ok ? served : t("status_none");
  // It is a live region: written only when it says something else.
  if ($("#status").textContent !== words) $("#status").textContent = words;
}

function showServed() {
  const none = health.model_version === null;
  $("#model-note").hidden = !none;
  $("#model-note").textContent = none ? t("model_none", { detail: health.detail }) : "";
  const rows = [];
  if (card) {
    rows.push(
      [t("model_name"), card.name],
      [t("model_version"), card.model_version],
      [t("model_alias"), t(`source_${health.source}`)],
      [t("model_age"), duration(health.age)],
    );
  }
  if (health.registry) rows.push([t("model_registry"), t(`registry_${health.registry}`)]);
  if (card) {
    const data = card.settings.data; // models of earlier releases do not say
    if (data) rows.push([t("model_data"), [data.name, t("model_series", { count: number(data.series, 0) })].filter(Boolean).join(" · ")]);
    const [first, last] = card.training_span;
    if (health.source !== "pretrained") rows.push([t("model_span"), t("model_to", { first: day(first), last: day(last) })]);
    rows.push([t("model_horizon"), t("days", { count: card.horizon })]);
  }
  define($("#model-card"), rows);
}

function duration(seconds) {
  if (seconds < 120) return t("seconds", { count: number(Math.round(seconds), 0) });
  if (seconds < 7200) return t("minutes", { count: number(Math.round(seconds / 60), 0) });
  if (seconds < 172_800) return t("hours", { count: number(Math.round(seconds / 3600), 0) });
  return t("days", { count: number(Math.round(seconds / 86_400), 0) });
}

const define = (list, rows) => fill(list, ...rows.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, String(text))]));

/** The name and the score of the best simple forecast in a metric, null where none is known. */
function best(metric) {
  const scores = Object.entries(card.baselines ?? {}).map(([name, of]) => [of[metric], name]);
  const known = scores.filter(([score]) => Number.isFinite(score)).sort(([a], [b]) => a - b);
  return known.length ? { score: known[0][0], name: named("baseline_", known[0][1]) } : null;
}

/** Whether the model beats the best simple forecasts of its backtest, "" where that is not known. */
function verdict() {
  const pairs = ["mase", "wql"].map((metric) => [card.metrics[metric], best(metric)?.score]);
  const known = pairs.filter((pair) => pair.every(Number.isFinite));
  if (!known.length) return "";
  return t(known.every(([ours, other]) => ours < other) ? "backtest_better" : "backtest_not_better");
}

function showBacktest() {
  const m = card.metrics;
  const about = (name, form) => {
    const other = best(name);
    return other ? t("m_beside", { score: form(other.score), name: other.name }) : t(`m_${name}_note`);
  };
  $("#backtest-verdict").textContent = verdict();
  const percent = (value) => `${number(value, 1)} %`;
  const tiles = [
    ["mase", number],
    ["mae", number],
    ["rmse", number],
    ["wape", percent],
    ["bias", number],
  ].filter(([name]) => m[name] !== undefined).map(([name, form]) => tile(t(`m_${name}`), form(m[name]), about(name, form)));
  for (const share of [50, 80, 90]) {
    const value = m[`coverage_${share}`];
    if (value !== undefined) tiles.push(tile(t("m_coverage", { share }), percent(value), t("m_coverage_note")));
  }
  fill($("#backtest"), ...tiles);
}

const tile = (name, text, about) => h("div", {}, h("dt", {}, name), h("dd", {}, text), h("dd", { class: "note" }, about));

function showMonitoring() {
  const found = monitoring.findings;
  $("#monitoring").hidden = !found;
  if (!found) {
    $("#monitoring-note").textContent = t(monitoring.status === "unreadable" ? "monitoring_unreadable" : "monitoring_never");
    return;
  }
  const version = found.model_version ?? "–";
  $("#monitoring-note").textContent = t("monitoring_checked", { when: moment(found.checked_at), version });
  $("#verdict").hidden = !found.verdict;
  if (found.verdict) {
    const reasons = (found.verdict.reasons ?? []).join(", ");
    $("#verdict").textContent = found.verdict.retrain ? t("retrain_yes", { reasons }) : t("retrain_no");
  }
  showSeries(found);
  showAccuracy(found.accuracy);
  showDrift(found.drift);
  const alerts = found.alerts.map((alert) =>
    h(
      "li",
      {},
      h("span", { class: `tag ${alert.severity}` }, t(`severity_${alert.severity}`)),
      h("b", {}, alert.name),
      alert.detail ? `: ${alert.detail}` : "",
      alert.since ? h("span", { class: "note" }, ` ${t("since", { when: moment(alert.since) })}`) : null,
    ),
  );
  fill($("#alerts"), ...(alerts.length ? alerts : [h("li", { class: "note" }, t("alerts_none"))]));
  const figures = found.business.map(({ name, value, unit }) => [
    named("business_", name),
    `${number(value)} ${named("unit_", unit)}`.trim(),
  ]);
  define($("#business"), figures.length ? figures : [[t("business_none"), ""]]);
  $("#business-note").hidden = figures.length === 0;
}

/** The words for what the API names, or its name where the page has none. */
function named(prefix, name) {
  const words = t(prefix + name);
  return words === prefix + name ? name : words;
}

function showAccuracy(accuracy) {
  const points = accuracy?.history ?? [];
  const target = accuracy?.interval ? 100 * accuracy.interval : accuracy?.promise?.coverage;
  for (const [id, name, level, against] of [
    ["accuracy", "mae", accuracy?.promise?.mae, "accuracy_expected"],
    ["coverage", "coverage", target, "coverage_target"],
  ]) {
    const known = points.filter((point) => point[name] !== null && point[name] !== undefined);
    $(`#${id}-card`).hidden = known.length === 0;
    if (!known.length) continue;
    const days = known.map((point) => point.date);
    const lines = [{ values: known.map((point) => point[name]), colour: "--history", width: 1.75 }];
    if (level !== null && level !== undefined) lines.push({ values: known.map(() => level), colour: "--median", dash: [5, 4] });
    const parts = (index) => [
      day(days[index]),
      `${t(`${id}_live`)} ${number(known[index][name])}`,
      ...(lines[1] ? [`${t(against)} ${number(level)}`] : []),
    ];
    const say = (index) => fill($(`#${id}-readout`), ...parts(index).map((text) => h("span", {}, text)));
    chart($(`#${id}`), () => ({
      days,
      lines,
      // Without a pointer, the last day is shown.
      tell: (index) => say(index ?? days.length - 1),
      words: (index) => parts(index).join(", "),
      label: t(`${id}_label`),
      from: days.length - 1,
      floor: id === "accuracy",
    }));
  }
}

// What has moved in a covariate, in its own units, as a line below its name.
function shiftOf(shift) {
  if (!shift) return null;
  const parts = [];
  const isKnown = shift.now !== null && shift.before !== null;
  const size = shift.kind === "number" ? (value) => number(value) : (value) => number(100 * value, 0);
  if (isKnown) parts.push(t(`shift_${shift.kind}`, { label: shift.label, now: size(shift.now), before: size(shift.before) }));
  if (shift.unknown.length) parts.push(t("shift_unknown", { names: shift.unknown.join(", ") }));
  return parts.length ? h("small", { class: "note" }, parts.join("; ")) : null;
}

function showDrift(drift) {
  if (!drift.length) {
    fill($("#drift"), h("tbody", {}, h("tr", {}, h("td", { class: "note" }, t("drift_none")))));
    return;
  }
  const largest = Math.max(...drift.map((item) => Math.max(item.effect, item.threshold ?? 0)), 1e-12);
  const rows = drift.map((item) => {
    const bar = h("i", { class: item.drifted ? "more" : "" });
    bar.style.width = `${(100 * item.effect) / largest}%`;
    return h(
      "tr",
      {},
      h("th", { scope: "row", title: item.feature }, named("f_", item.feature), shiftOf(item.shift)),
      h("td", {}, h("div", { class: "track" }, bar)),
      h("td", { class: "figure" }, number(item.effect, 2)),
      h("td", { class: "figure" }, h("span", { class: `tag ${item.drifted ? "bad" : "good"}` }, t(item.drifted ? "drift_yes" : "drift_no"))),
    );
  });
  const head = h("tr", {}, h("th", { scope: "col" }, t("drift_feature")), h("td", {}), h("th", { scope: "col", class: "figure" }, t("drift_effect")), h("th", { scope: "col", class: "figure" }, t("drift_state")));
  fill($("#drift"), h("thead", {}, head), h("tbody", {}, ...rows));
}
