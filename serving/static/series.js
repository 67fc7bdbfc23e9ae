// What the last check saw of each series: the worst ones with their picture, groups, anomalies.

import { chart, clear } from "./charts.js";
import { $, fill, h } from "./dom.js";
import { day, number, t } from "./i18n.js";

let drawn = ""; // name of the series whose picture is open

/** Show what the findings of a check say of series; parts without anything are hidden. */
export function showSeries(found) {
  showEvidence(found);
  showWorst(found.worst_series ?? []);
  showAnomalies(found.anomalies ?? [], found.worst_series);
  showGroups(found.groups ?? []);
}

function showEvidence({ status, evidence, stability }) {
  $("#evidence").hidden = !evidence;
  if (!evidence) return;
  const seen = {
    actuals: number(evidence.actuals, 0),
    forecasts: number(evidence.forecasts, 0),
    series: number(evidence.series, 0),
    days: number(evidence.days, 0),
  };
  const words = [t(`evidence_${status}`), t("evidence_seen", seen)];
  if (!evidence.enough) words.splice(1, 0, t("evidence_reason", { reason: evidence.reason }));
  if (stability?.revisions) words.push(t("stability", { moved: number(stability.moved, 1) }));
  $("#evidence").textContent = words.join(" ");
}

const percent = (share) => (share === null || share === undefined ? "–" : `${number(100 * share, 0)} %`);
const value = (figure, digits) => (figure === null || figure === undefined ? "–" : number(figure, digits));
const figures = (...texts) => texts.map((text) => h("td", {}, text));
const head = (...names) => h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, t(name)))));

function showWorst(worst) {
  $("#worst-card").hidden = worst.length === 0;
  if (!worst.length) return;
  const rows = worst.map((one) => {
    const press = () => {
      drawn = drawn === one.name ? "" : one.name;
      showWorst(worst);
      $(`#worst button[aria-expanded="true"]`)?.focus();
    };
    const shown = h("button", { onclick: press, "aria-expanded": String(drawn === one.name), "aria-controls": "worst-chart" }, one.name);
    const name = h("th", { scope: "row" }, one.history?.length ? shown : one.name);
    return h("tr", {}, name, ...figures(value(one.mase, 2), value(one.mae), percent(one.coverage)));
  });
  fill($("#worst"), head("worst_series", "m_mase", "m_mae", "worst_coverage"), h("tbody", {}, ...rows));
  draw(worst.find((one) => one.name === drawn));
}

function draw(one) {
  const place = $("#worst-chart");
  $("#worst-figure").hidden = !one;
  if (!one) return clear(place);
  const of = (name) => one.history.map((row) => row[name]);
  const days = of("date");
  const parts = (index) => {
    const row = one.history[index];
    const range = { low: value(row.lower), high: value(row.upper) };
    return [day(row.date), `${t("worst_actual")} ${value(row.actual)}`, `${t("worst_forecast")} ${value(row.median)} (${t("worst_range", range)})`];
  };
  const say = (index) => fill($("#worst-readout"), h("b", {}, one.name), ...parts(index).map((text) => h("span", {}, text)));
  chart(place, () => ({
    days,
    lines: [
      { values: of("actual"), colour: "--history", width: 1.75 },
      { values: of("median"), colour: "--median", width: 1.75 },
    ],
    bands: [{ low: of("lower"), high: of("upper"), alpha: 0.18 }],
    tell: (index) => say(index ?? days.length - 1),
    words: (index) => parts(index).join(", "),
    label: t("worst_label", { name: one.name }),
    from: days.length - 1,
  }));
}

function showAnomalies(anomalies, worst) {
  $("#anomalies-card").hidden = worst === undefined;
  if (!anomalies.length) {
    fill($("#anomalies"), h("tbody", {}, h("tr", {}, h("td", { class: "note" }, t("anomalies_none")))));
    $("#anomalies-note").textContent = "";
    return;
  }
  $("#anomalies-note").textContent = t("anomalies_lead", { when: day(anomalies[0].date), count: number(anomalies.length, 0) });
  const rows = anomalies.map((one) => {
    const lasting = one.persistent ? t("anomaly_days", { count: number(one.days, 0) }) : t("anomaly_single");
    const tag = h("span", { class: `tag ${one.persistent ? "bad" : ""}` }, lasting);
    const range = t("worst_range", { low: number(one.lower), high: number(one.upper) });
    return h("tr", {}, h("th", { scope: "row" }, one.series_id), ...figures(number(one.actual), range), h("td", {}, tag));
  });
  fill($("#anomalies"), head("worst_series", "worst_actual", "anomaly_range", "anomaly_lasts"), h("tbody", {}, ...rows));
}

function showGroups(groups) {
  $("#groups-card").hidden = groups.length === 0;
  const rows = groups.map((one) =>
    h("tr", {}, h("th", { scope: "row" }, one.name), ...figures(number(one.series, 0), value(one.mase, 2), `${value(one.wape, 1)} %`, percent(one.coverage))),
  );
  fill($("#groups"), head("group", "group_series", "m_mase", "m_wape", "worst_coverage"), h("tbody", {}, ...rows));
}
