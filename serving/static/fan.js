// The chart of a forecast: the history, and behind it the intervals as a fan.

import { chart, clear } from "./charts.js";
import { calendar } from "./dataset.js";
import { $, fill, h } from "./dom.js";
import { day, number, t } from "./i18n.js";

/** The per cent that lie between two levels. */
export const share = ([low, high]) => Math.round(100 * (high - low));

/**
 * Draw a series and its forecast, with its key and a summary of the history.
 *
 * `one` is the series, undefined for none; `ahead` the days of the answer. `intervals` are pairs of
 * levels, the widest first; `other` is a scenario, null for none; `shownDays` of the past are shown,
 * 0 for all.
 */
export function drawFan(one, ahead, { intervals, other, shownDays }) {
  const element = $("#chart");
  for (const id of ["#ranges", "#key", "#chart-hint"]) $(id).hidden = !one;
  if (!one || !one.history.length) {
    clear(element);
    element.classList.add("empty");
    fill(element, h("p", { "data-t": "chart_empty" }, t("chart_empty")));
    fill($("#readout"));
    $("#summary").textContent = "";
    return;
  }
  const past = calendar(one.history);
  summarise(one, past);
  const days = [...past.days, ...ahead.map((row) => row.date)];
  const pad = (values, before) => (before ? [...past.days.map(() => null), ...values] : [...values, ...ahead.map(() => null)]);
  const at = (row, level) => row.quantiles[String(level)] ?? null;
  const alphas = [0.14, 0.17, 0.24];
  const bands = intervals.map(([low, high], i) => ({
    low: pad(ahead.map((row) => at(row, low)), true),
    high: pad(ahead.map((row) => at(row, high)), true),
    alpha: alphas[Math.min(i, alphas.length - 1)],
  }));
  if (other && intervals.length) {
    const [low, high] = intervals.find((pair) => share(pair) === 80) ?? intervals[0];
    bands.push({
      low: pad(other.days.map((row) => at(row, low)), true),
      high: pad(other.days.map((row) => at(row, high)), true),
      alpha: 0.2,
      colour: "--scenario-band",
    });
  }
  const from = past.days.length - (ahead.length ? 0 : 1);
  const first = shownDays ? Math.max(0, past.days.length - shownDays) : 0;
  chart(element, () => ({
    days,
    lines: [
      { values: pad(past.values, false), colour: "--history", width: 1.25 },
      { values: pad(ahead.map((row) => row.prediction), true), colour: "--median", width: 2 },
      ...(other ? [{ values: pad(other.days.map((row) => row.prediction), true), colour: "--scenario", width: 2, dash: [6, 4] }] : []),
    ],
    bands: ahead.length ? bands : [],
    gaps: true,
    shown: [days[first], days.at(-1)],
    // Without a pointer, the first day ahead is shown, or the last known one.
    tell: (index) => fill($("#readout"), ...parts(index ?? from).map(([name, text]) => h("span", {}, `${name} `, h("b", {}, text)))),
    words: (index) => parts(index).map((part) => part.join(" ")).join(", "),
    label: t("chart_label", { series: one.name }),
    from,
  }));
  showKey(ahead.length > 0, past.missing > 0, intervals, alphas, other);

  function parts(index) {
    const when = ["", day(days[index], { weekday: "short", day: "numeric", month: "short", year: "numeric" })];
    if (index < past.days.length) {
      const value = past.values[index];
      return [when, [t("key_history"), value === null ? t("missing_value") : number(value)]];
    }
    const row = ahead[index - past.days.length];
    return [
      when,
      [t("table_median"), number(row.prediction)],
      [t("table_mean"), number(row.mean)],
      ...(other ? [[other.name, number(other.days[index - past.days.length].prediction)]] : []),
      ...intervals.map((pair) => [`${share(pair)} %`, `${number(at(row, pair[0]))} – ${number(at(row, pair[1]))}`]),
    ];
  }
}

function summarise(one, past) {
  const parts = [
    t("summary", { first: day(past.days[0]), last: day(past.days.at(-1)), days: number(past.days.length, 0) }),
    past.missing ? t("summary_gaps", { missing: number(past.missing, 0), gaps: number(past.gaps, 0) }) : t("summary_no_gaps"),
  ];
  if (one.future.length) parts.push(t("summary_future", { days: one.future.length }));
  $("#summary").textContent = parts.join(" · ");
}

function showKey(ahead, missing, intervals, alphas, other) {
  const item = (kind, words) => h("li", {}, h("i", { class: `swatch ${kind}` }), words);
  const items = [item("line history", t("key_history"))];
  if (missing) items.push(item("gap", t("key_gap")));
  if (ahead) {
    items.push(item("line median", t("key_median")));
    if (other) items.push(item("line scenario", t("key_scenario", { name: other.name })));
    intervals.forEach((pair, i) => {
      const entry = item("", t("key_interval", { share: share(pair) }));
      // Bands lie on each other, so the inner ones are darker.
      const depth = 1 - alphas.slice(0, i + 1).reduce((left, alpha) => left * (1 - alpha), 1);
      entry.firstChild.style.background = `rgba(var(--band), ${depth})`;
      items.push(entry);
    });
  }
  fill($("#key"), ...items);
}
