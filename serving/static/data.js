// The reader's rows: load them, name their columns, show and correct their faults.

import { findWide, guess, melt } from "./columns.js";
import { KINDS, MOST, findCovariates } from "./covariates.js";
import { decode, findDecimal, findDoubt, parse, readNumber } from "./csv.js";
import { ROLES, build, locate, roleOf, wording } from "./dataset.js";
import { $, fill, h } from "./dom.js";
import { number, onLanguage, t } from "./i18n.js";

const SIZE = 20_000_000; // bytes of a file
const SHOWN = 20; // rows with a fault at once

let brought = null; // what was brought: {separator, header, rows, name}
let table = null; // it, or its columns as series one below the other
let wide = []; // columns that may each be a series
let mapping = null; // number of a column by role; `named`: the value was found by its name
let marked = false; // whether the reader has chosen the decimal mark
let learned = []; // covariates of the served model: {name, role, kind}
let model = {}; // what it has learned of the columns without a name of their own; whether it takes `any`
let covariates = []; // that a column may hold: those of the model, or of the file where it takes any
let choices = new Map(); // what the reader has corrected of a covariate of the file, by name: {used, kind}
let drawn = ""; // the covariates of the file whose selects are there
let refused = []; // what the API found wrong with rows, as `faults`
let listener = () => {};

/** The series now, [] where something is missing; `faults` of rows. */
export let current = nothing();

function nothing() {
  return { series: [], faults: [], sorted: false, signs: {} };
}

/** Set up the form; `changed(current)` is called whenever the series are others. */
export function start(changed) {
  listener = changed;
  $("#file").addEventListener("change", (event) => readFile(event.target.files[0]));
  const drop = $("#drop");
  for (const type of ["dragenter", "dragover"]) {
    drop.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    readFile(event.dataTransfer.files[0]);
  });
  $("#paste-open").addEventListener("click", (event) => {
    const open = $("#paste").hidden;
    $("#paste").hidden = !open;
    event.currentTarget.setAttribute("aria-expanded", open);
    if (open) $("#paste-text").focus();
  });
  $("#paste-use").addEventListener("click", () => bring(parse($("#paste-text").value), "pasted_name"));
  for (const role of ROLES) {
    $(`#map-${role}`).addEventListener("change", (event) => {
      mapping[role] = Number(event.target.value);
      if (role === "value") mapping.named = true; // by the reader
      update();
    });
  }
  $("#decimal").addEventListener("change", () => {
    marked = true;
    update();
  });
  $("#wide").addEventListener("change", () => {
    map();
    update();
  });
  onLanguage(() => {
    showCovariates();
    show();
  });
}

/** Take the covariates of the served model; its holidays need no column. */
export function useModel(card) {
  const found = (card.covariates ?? []).filter(({ kind }) => kind !== "holiday");
  const other = { learned: card.learned ?? null, scaling: card.scaling, any: Boolean(card.any_covariates) };
  if (JSON.stringify([found, other]) === JSON.stringify([learned, model])) return;
  [learned, model] = [found, other];
  covariates = found;
  showCovariates();
  if (table) {
    map();
    update();
  }
}

/** The selects of the covariates. */
function showCovariates() {
  $("#map-model").hidden = covariates.length === 0;
  const lead = $("#map-lead");
  lead.dataset.t = model.any ? "columns_any" : "columns_model";
  lead.textContent = t(lead.dataset.t);
  $("#map-covariates").classList.toggle("own", Boolean(model.any));
  drawn = kept();
  fill($("#map-covariates"), ...covariates.flatMap(model.any ? fileFields : modelFields));
}

// What their selects show that the reader does not choose there.
const kept = () => JSON.stringify(covariates.map(({ name, role, column, kinds }) => [name, role, column, kinds]));

/** A select for the column of a covariate of the model, with its kind. */
function modelFields(covariate, i) {
  const id = `map-covariate-${i}`;
  const words = t("covariate_kind", { name: covariate.name, kind: t(`kind_${covariate.kind}`), role: t(`role_${covariate.role}`) });
  const change = (event) => {
    mapping[roleOf(covariate)] = Number(event.target.value);
    update();
  };
  return [h("label", { for: id }, words), h("select", { id, onchange: change })];
}

/** Selects that leave a covariate of the file out, and that correct its kind. */
function fileFields({ name, column, role, kinds }, i) {
  const id = `map-covariate-${i}`;
  const choose = (choice) => {
    choices.set(name, { ...choices.get(name), ...choice });
    update();
  };
  const uses = [
    h("option", { value: column }, t("covariate_used")),
    h("option", { value: -1 }, t("covariate_out")),
  ];
  // The API tells kinds by the cells: as another one, it would not read them.
  const options = KINDS.map((kind) => h("option", { value: kind, disabled: !kinds.includes(kind) }, t(`as_${kind}`)));
  return [
    h("label", { for: id }, name, " ", h("small", {}, t(`role_${role}`))),
    h("select", { id, onchange: ({ target }) => choose({ used: target.value !== "-1" }) }, ...uses),
    h("select", { id: `map-kind-${i}`, "aria-label": t("covariate_kind_of", { name }), onchange: ({ target }) => choose({ kind: target.value }) }, ...options),
  ];
}

/** Find the covariates of the file, as the reader has corrected them. */
function findOwn() {
  const found = findCovariates(table, mapping, marked ? $("#decimal").value : mapping.decimal);
  // Where each column may be a series, none is a covariate of another before the reader says so.
  const unclear = wide.length > 0 && !mapping.named && !mapping.effects;
  const likely = found.filter(({ used }) => used).slice(0, MOST);
  const listed = found.filter((one) => !one.used || likely.includes(one));
  covariates = listed.map((one) => {
    const choice = choices.get(one.name) ?? {};
    return {
      ...one,
      used: choice.used ?? (one.used && !unclear),
      kind: one.kinds.includes(choice.kind) ? choice.kind : one.kind,
    };
  });
  for (const one of covariates) mapping[roleOf(one)] = one.used ? one.column : -1;
  mapping.others = found.length - listed.length;
  if (drawn !== kept()) showCovariates();
}

/** The covariates of the file that are known ahead, each with its categories. */
export function plannedOwn() {
  const known = covariates.filter(({ role, used }) => role === "known" && used);
  return known.map(({ name, kind }) => {
    const cells = kind === "category" ? current.series.flatMap(({ history, future }) => [...history, ...future]).map((row) => row[name]) : [];
    return { name, kind, labels: [...new Set(cells)].filter((label) => label !== null).sort() };
  });
}

const roles = () => [...ROLES, ...covariates.map(roleOf)];

/** Guess the columns; those of covariates have their names. */
function map() {
  const names = learned.map((covariate) => covariate.name);
  wide = findWide(brought, names);
  const apart = wide.length > 0 && $("#wide").checked;
  table = apart ? melt(brought, wide, (i) => nameOf(i, brought), [t("column_series"), t("column_value")]) : brought;
  mapping = apart ? { date: 0, series: 1, value: 2, factor: -1, event: -1, named: true, decimal: "." } : guess(table, names, model);
  if (model.any) return; // found with each change of the columns
  for (const covariate of covariates) mapping[roleOf(covariate)] = table.header.indexOf(covariate.name);
}

/** Load the example that is shipped with the page. */
export async function example() {
  const response = await fetch(new URL("example.json", import.meta.url));
  const { header, rows } = await response.json();
  const written = rows.map((cells, i) => ({ line: i + 2, cells: cells.map((c) => (c === null ? "" : String(c))) }));
  bring({ separator: ",", header, rows: written }, "example_name");
}

/** Show the API's errors beside their rows. Returns those that belong to no row. */
export function refuse(errors) {
  const rest = [];
  refused = [];
  for (const { field, detail } of errors) {
    const place = locate(field, current.series);
    const text = wording(detail) ?? { key: "problem_other", values: { detail } };
    if (place) refused.push({ ...place, ...text });
    else rest.push({ field, ...text });
  }
  showFaults();
  if (refused.length) $("#rows-card").scrollIntoView({ block: "nearest" });
  return rest;
}

async function readFile(file) {
  if (!file) return;
  if (file.size > SIZE) {
    complain("fault_size");
    return;
  }
  try {
    bring(parse(decode(await file.arrayBuffer())), null, file.name);
  } catch {
    complain("fault_unread");
  }
  $("#file").value = ""; // so that the same file can be brought again, once it is corrected
}

function bring(found, key, name = "") {
  if (!found.rows.length) {
    complain("fault_empty");
    return;
  }
  brought = { ...found, key, name };
  marked = false;
  choices = new Map();
  $("#wide").checked = false;
  map();
  update();
}

/** The cells of the columns that hold numbers. */
function numbers() {
  const written = covariates.filter(({ kind }) => kind === "number").map(roleOf);
  const columns = ["value", "factor", "event", ...written].map((role) => mapping[role]).filter((column) => column >= 0);
  return table.rows.flatMap((row) => columns.map((column) => row.cells[column] ?? ""));
}

function complain(key, values = {}) {
  const place = $("#data-fault");
  place.textContent = key ? t(key, values) : "";
  place.hidden = !key;
}

/** How the file was read, where that may be wrong. */
function showNotes() {
  const signs = Object.entries(current.signs).map(([role, sign]) => t("note_currency", { column: columnOf(role), sign }));
  const doubt = mapping.value >= 0 && !marked ? findDoubt(numbers(), table.separator) : "";
  const whole = doubt && Number.isInteger(readNumber(doubt, $("#decimal").value));
  const several = wide.length > 0 && !mapping.named;
  const words = [
    several ? t("note_wide", { column: columnOf("value") }) : "",
    current.sorted ? t("note_sorted") : "",
    ...signs,
    model.any && mapping.others > 0 ? t("note_many", { most: MOST, count: mapping.others }) : "",
    doubt ? t(whole ? "note_thousands" : "note_decimal", { cell: doubt }) : "",
  ].filter(Boolean);
  fill($("#data-notes"), ...words.map((text) => h("li", {}, text)));
  $("#data-notes").hidden = words.length === 0;
  $("#wide-offer").hidden = wide.length === 0;
}

function update() {
  refused = [];
  current = nothing();
  if (model.any) findOwn();
  if (!marked) $("#decimal").value = findDecimal(numbers(), table.separator);
  const used = roles().map((role) => mapping[role]).filter((column) => column >= 0);
  const twice = used.find((column, i) => used.indexOf(column) !== i);
  if (mapping.date >= 0 && mapping.value >= 0 && twice === undefined) {
    current = build(table, mapping, $("#decimal").value, covariates);
  }
  show();
  listener(current);
}

const nameOf = (column, of = table) => of.header[column] || t("unnamed", { number: column + 1 });

/** The name of the column that a role takes, "" for none. */
export const columnOf = (role) => (mapping?.[role] >= 0 ? nameOf(mapping[role]) : "");

function show() {
  if (!table) return;
  const used = roles().map((role) => mapping[role]).filter((column) => column >= 0);
  const twice = used.find((column, i) => used.indexOf(column) !== i);
  const again = current.faults.filter(({ key }) => key === "p_twice").length;
  if (twice !== undefined) complain("fault_twice", { column: nameOf(twice) });
  else if (mapping.date < 0) complain("fault_no_date");
  else if (mapping.value < 0) complain("fault_no_value");
  else if (again > 1 && mapping.series < 0) complain("fault_several", { count: number(again, 0) });
  else complain(null);
  showNotes();
  $("#loaded").hidden = false;
  const out = table.rows.filter((row) => row.out).length;
  $("#loaded-name").textContent = [
    t("loaded", {
      name: table.key ? t(table.key) : table.name,
      rows: number(table.rows.length, 0),
      columns: table.header.length,
    }),
    out ? t("left_out", { count: number(out, 0) }) : "",
  ].filter(Boolean).join(" · ");
  const selects = [
    ...ROLES.map((role) => [role, $(`#map-${role}`)]),
    ...covariates.map((covariate, i) => [roleOf(covariate), $(`#map-covariate-${i}`)]),
  ];
  for (const [role, select] of selects) {
    const options = table.header.map((_, i) => h("option", { value: i }, nameOf(i)));
    if (!model.any || ROLES.includes(role)) fill(select, h("option", { value: -1 }, t("column_none")), ...options);
    select.value = mapping[role];
  }
  if (model.any) covariates.forEach(({ kind, used }, i) => Object.assign($(`#map-kind-${i}`), { value: kind, disabled: !used }));
  showFaults();
}

function showFaults() {
  const faults = [...refused, ...current.faults];
  const byRow = new Map();
  for (const fault of faults) byRow.set(fault.row, [...(byRow.get(fault.row) ?? []), fault]);
  const rows = [...byRow].sort(([a], [b]) => a.line - b.line);
  $("#rows-card").hidden = rows.length === 0;
  const faulty = new Set(faults.map((fault) => fault.role));
  const usual = ["date", "value", "factor", "event", "series"];
  const columns = [...usual, ...covariates.map(roleOf).filter((role) => faulty.has(role))].filter((role) => mapping?.[role] >= 0);
  const head = h("tr", {}, h("th", {}), ...columns.map((role) => h("th", { scope: "col" }, nameOf(mapping[role]))), h("th", {}));
  const body = rows.slice(0, SHOWN).map(([row, found]) => faultRow(row, found, columns));
  fill($("#rows"), h("thead", {}, head), h("tbody", {}, ...body));
  const more = rows.length - SHOWN;
  $("#rows-more").textContent = more > 0 ? t("errors_more", { count: number(more, 0) }) : "";
}

function faultRow(row, found, columns) {
  const cells = columns.map((role) => {
    const faults = found.filter((fault) => fault.role === role);
    const id = `fault-${row.line}-${mapping[role]}`;
    const input = h("input", {
      type: "text",
      value: row.cells[mapping[role]] ?? "",
      "aria-label": t("errors_cell", { column: nameOf(mapping[role]), line: row.line }),
      "aria-invalid": faults.length > 0 ? "true" : null,
      "aria-describedby": faults.length ? id : null,
      onchange: (event) => {
        row.cells[mapping[role]] = event.target.value.trim();
        update();
      },
    });
    const words = faults.map((fault) => t(fault.key, fault.values)).join(". ");
    return h("td", {}, input, words ? h("span", { class: "fault", id }, words) : null);
  });
  const whole = found.filter((fault) => !columns.includes(fault.role));
  const out = h(
    "button",
    {
      type: "button",
      "aria-label": t("errors_out_label", { line: row.line }),
      onclick: () => {
        row.out = true;
        update();
      },
    },
    t("errors_out"),
  );
  const words = whole.map((fault) => t(fault.key, fault.values)).join(". ");
  const name = h("th", { scope: "row" }, t("errors_row", { line: row.line }), words ? h("span", { class: "fault" }, words) : null);
  return h("tr", {}, name, ...cells, h("td", {}, out));
}
