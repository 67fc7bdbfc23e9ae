// Charts by uPlot, in the colours of the page, for pointer, keyboard and screen reader.

/* global uPlot */
import { day, number, onLanguage } from "./i18n.js";

const DAY = 86_400;
// Between marks of the time axis: days, then about a month and more, which uPlot sets on firsts.
const STEPS = [1, 2, 3, 7, 14, 30, 60, 90, 180, 365, 730, 1825, 3650].map((days) => days * DAY);
const charts = new Map(); // functions that redraw, by element

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const time = (iso) => Date.parse(iso) / 1000;
const iso = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);

/** Draw all charts anew, in the colours and the language that hold now. */
export function redraw() {
  for (const draw of charts.values()) draw();
}

onLanguage(redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

/**
 * A chart of days.
 *
 * days: [ISO]. lines: [{values, colour, width, dash}]. bands: [{low, high, alpha}], values
 * by day. gaps: whether missing values of the first line are shaded. shown: [first, last] ISO of
 * the days in view, or null. `tell(index)` is called with the day that is pointed at, null for
 * none; `words(index)` says it. `from` is where the keyboard begins.
 */
export function chart(element, options) {
  const draw = () => render(element, options());
  charts.set(element, draw);
  draw();
}

/** Take a chart away. */
export function clear(element) {
  charts.delete(element);
  element.plot?.destroy();
  element.plot = null;
  for (const name of ["role", "tabindex", "aria-valuenow", "aria-valuetext"]) element.removeAttribute(name);
}

function render(element, { days, lines, bands = [], gaps = false, shown = null, tell, words, label, from = 0, floor = false }) {
  element.plot?.destroy();
  element.classList.remove("empty");
  element.replaceChildren();
  const x = days.map(time);
  const sides = bands.flatMap(({ low, high }) => [low, high]);
  const data = [x, ...lines.map((line) => line.values), ...sides];
  const [ink, line] = [colour("--soft"), colour("--line")];
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: `12px ${getComputedStyle(document.body).fontFamily}` };
  const none = { show: true, stroke: "transparent", width: 0, points: { show: false } };
  const plot = new uPlot(
    {
      ...size(element),
      padding: [8, 8, 0, 0],
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      scales: {
        x: { time: true, ...(shown ? { min: time(shown[0]), max: time(shown[1]) } : {}) },
        y: { range: (_, low, high) => spread(low, high, floor) },
      },
      axes: [
        { ...axis, grid: { show: false }, space: 84, size: 30, incrs: STEPS, values: (_, splits, __, ___, step) => splits.map((s) => tick(s, step)) },
        { ...axis, size: 58, values: (_, splits) => splits.map((value) => number(value)) },
      ],
      series: [
        {},
        ...lines.map((l) => ({
          stroke: colour(l.colour),
          width: l.width ?? 1.5,
          dash: l.dash,
          // A day between two missing ones has no line to be seen by.
          points: { show: true, size: 3.5, width: 0, fill: colour(l.colour), filter: () => alone(l.values) },
        })),
        ...sides.map(() => none),
      ],
      bands: bands.map(({ alpha, colour: own = "--band" }, i) => ({
        series: [lines.length + 2 * i + 2, lines.length + 2 * i + 1],
        fill: `rgba(${colour(own)}, ${alpha})`,
      })),
      cursor: {
        y: false,
        drag: { x: true, y: false },
      },
      hooks: {
        drawClear: gaps ? [(u) => shade(u, lines[0].values, lines[1]?.values)] : [],
        setCursor: [(u) => point(u.cursor.idx ?? null)],
      },
    },
    data,
    element,
  );
  element.plot = plot;
  let at = null;
  const point = (index) => {
    const next = index !== null && index >= 0 && index < days.length ? index : null;
    at = next ?? at;
    element.setAttribute("aria-valuenow", at ?? from);
    element.setAttribute("aria-valuetext", words(at ?? from));
    tell(next);
  };
  Object.assign(element, { tabIndex: 0 });
  for (const [name, value] of Object.entries({
    role: "slider",
    "aria-label": label,
    "aria-valuemin": 0,
    "aria-valuemax": days.length - 1,
  })) element.setAttribute(name, value);
  point(null);
  element.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -7, PageDown: 7, Home: -days.length, End: days.length }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = Math.min(days.length - 1, Math.max(0, (at ?? from - Math.sign(step)) + step));
    const { min, max } = plot.scales.x;
    if (x[next] < min || x[next] > max) {
      const shift = x[next] < min ? x[next] - min : x[next] - max;
      plot.setScale("x", { min: min + shift, max: max + shift });
    }
    plot.setCursor({ left: plot.valToPos(x[next], "x"), top: plot.over.clientHeight / 2 });
    point(next);
  };
  element.onblur = () => tell(null);
  watch(element);
}

/** Where a line has no value on a day between its first and its last, and no other line has one. */
function shade(u, values, others) {
  const [first, last] = [values.findIndex((v) => v !== null), values.findLastIndex((v) => v !== null)];
  const { ctx, bbox, data } = u;
  ctx.save();
  ctx.fillStyle = colour("--gap");
  for (let i = first; i < last; i++) {
    if (values[i] !== null || (others && others[i] !== null)) continue;
    const start = i;
    while (values[i + 1] === null && i + 1 < last) i++;
    const left = u.valToPos(data[0][start] - DAY / 2, "x", true);
    const right = u.valToPos(data[0][i] + DAY / 2, "x", true);
    const from = Math.max(left, bbox.left);
    const to = Math.min(Math.max(right, left + 3), bbox.left + bbox.width);
    if (to > from) ctx.fillRect(from, bbox.top, to - from, bbox.height);
  }
  ctx.restore();
}

const alone = (values) =>
  values.flatMap((v, i) => (v !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null ? [i] : []));

function spread(low, high, floor) {
  if (low === null || high === null) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  // What is never negative is not drawn as if it could be.
  return [(low >= 0 && low - room < 0) || floor ? 0 : low - room, high + room];
}

function tick(seconds, step) {
  const months = { month: "short", year: "numeric" };
  if (step >= 365 * DAY) return iso(seconds).slice(0, 4);
  return day(iso(seconds), step >= 28 * DAY ? months : { day: "numeric", month: "short" });
}

const size = (element) => ({ width: element.clientWidth, height: element.clientHeight });

const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const { width, height } = size(target);
    if (target.plot && (target.plot.width !== width || target.plot.height !== height)) target.plot.setSize({ width, height });
  }
});
const watch = (element) => sizes.observe(element);

