// Elements, tables, figures and small charts, in the language that is chosen.

import { TEXTS } from "./texts.js";

const LANGUAGE = "sayonce-language";
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 56;
const TABLE_ROWS = 12;

let language = localStorage.getItem(LANGUAGE) ?? (navigator.language.startsWith("zh") ? "zh" : "en");

// Figures and times are written as the browser's region writes them, where it speaks the language that is chosen.
const locale = () => (navigator.language.startsWith(language) ? navigator.language : language);

export const id = (name) => document.getElementById(name);
export const spoken = () => language;

export function t(name, ...values) {
  return TEXTS[language][name].replace(/\{(\d)\}/g, (_, number) => values[number]);
}

export function speak(chosen, remember = false) {
  language = chosen;
  if (remember) localStorage.setItem(LANGUAGE, chosen);
  document.documentElement.lang = chosen === "zh" ? "zh-Hans" : "en";
  for (const one of document.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t);
  for (const one of document.querySelectorAll("[data-t-label]")) one.setAttribute("aria-label", t(one.dataset.tLabel));
}

// -- figures ------------------------------------------------------------------------------------------------------------

// As many digits for every value of a unit, so that figures stand under one another, and stand still.
const number = (value, digits, least = digits) =>
  value.toLocaleString(locale(), { minimumFractionDigits: least, maximumFractionDigits: digits });
const known = (format) => (value) => (value === null || value === undefined ? "–" : format(value));

export const count = known((value) => number(value, 0));
export const rate = known((value) => number(value, value > 0 && value < 10 ? 1 : 0));
export const money = known((value) => number(value, value < 1 ? 4 : 2, 2));
export const percent = known((value) => `${number(100 * value, 1, value > 0 && value < 1 ? 1 : 0)} %`);

export const bytes = known((value) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  for (; value >= 1000 && step < units.length - 1; step += 1) value /= 1000;
  return `${number(value, value < 10 && step ? 1 : 0)} ${units[step]}`;
});

export const seconds = known((value) => {
  if (value >= 7200) return `${number(value / 3600, 1)} h`;
  if (value >= 120) return `${number(value / 60, 1)} min`;
  if (value >= 1 || value === 0) return `${number(value, value ? 1 : 0)} s`;
  return `${number(1000 * value, value < 0.01 ? 2 : 0)} ms`;
});

export const clock = (at) => new Date(1000 * at).toLocaleTimeString(locale());

// -- elements -----------------------------------------------------------------------------------------------------------

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== "" && value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// Numbers stand at the right (`n`), and where there is little room the `minor` columns are left out.
// A table is drawn only when what it shows has changed, and not under the hands of who has the focus in it.
export function table(name, columns, rows, empty = t("none")) {
  const target = id(name);
  const shown = JSON.stringify([language, columns.map(({ title }) => title), rows, empty]);
  if (target.shown === shown || target.querySelector("tbody :focus")) return;
  target.shown = shown;
  const head = columns.map((column) => element("th", { scope: "col", class: kind(column).join(" ").trim() }, column.title));
  const body = rows.map((row) => element("tr", {}, ...columns.map((column, place) => cell(column, row, place === 0))));
  if (!rows.length) body.push(element("tr", {}, element("td", { class: "note", colspan: columns.length }, empty)));
  const parts = rows.length ? [element("thead", {}, element("tr", {}, ...head))] : [];
  target.replaceChildren(...parts, element("tbody", {}, ...body));
}

const kind = ({ n, minor }) => [n ? "n" : "", minor ? "minor" : ""];

function cell(column, row, first) {
  const { show, style } = column;
  const attributes = { class: [...kind(column), style?.(row) ?? ""].join(" ").trim(), ...(first ? { scope: "row" } : {}) };
  return element(first ? "th" : "td", attributes, show(row));
}

export function numbers(name, pairs) {
  id(name).replaceChildren(...pairs.map(([label, value]) => element("div", {}, element("dt", {}, label), element("dd", {}, value))));
}

// A part of a whole, as a bar with its words.
export function share(name, part, words) {
  const target = id(name);
  if (target.shown === words) return;
  target.shown = words;
  const bar = shape("svg", { class: "share", viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" });
  bar.append(shape("rect", { class: "whole", width: 100, height: 4 }), shape("rect", { class: "part", width: 100 * part, height: 4 }));
  target.replaceChildren(bar, element("p", { class: "note" }, words));
}

// -- charts -------------------------------------------------------------------------------------------------------------

export function makeChart(name) {
  const parts = {
    title: element("h3", { id: `${name}-title` }),
    value: element("p", { class: "value" }),
    note: element("p", { class: "note" }),
    picture: document.createElementNS(SVG, "svg"),
    summary: element("summary"),
    table: element("table", { id: `${name}-table`, "aria-labelledby": `${name}-title` }),
  };
  parts.picture.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  parts.picture.setAttribute("preserveAspectRatio", "none");
  parts.picture.setAttribute("role", "img");
  const behind = element("details", {}, parts.summary, element("div", { class: "wide" }, parts.table));
  id("charts").append(
    element("article", { class: "card", id: name, "aria-labelledby": `${name}-title` }, parts.title, parts.value, parts.note, parts.picture, behind),
  );
  return { name, ...parts };
}

// `points` are { at, value }; a value of null is a gap. `top` is the scale's end, or null for the largest value.
export function drawChart(chart, { title, note, points, format, top = null }) {
  const values = points.map(({ value }) => value).filter((value) => value !== null);
  const now = points.at(-1)?.value ?? null;
  chart.title.textContent = title;
  chart.value.textContent = format(now);
  chart.note.textContent = note;
  chart.summary.textContent = t("table");
  const label = values.length ? t("chart", title, format(Math.min(...values)), format(Math.max(...values)), format(now)) : `${title}: ${t("noData")}`;
  chart.picture.setAttribute("aria-label", label);
  chart.picture.replaceChildren(...lines(points, top ?? 1.15 * Math.max(...values, 1e-9)));
  const step = Math.ceil(points.length / TABLE_ROWS);
  const rows = points.filter((_, place) => (points.length - 1 - place) % step === 0).reverse();
  table(`${chart.name}-table`, [{ title: t("time"), show: ({ at }) => clock(at) }, { title, n: true, show: ({ value }) => format(value) }], rows);
}

function lines(points, top) {
  const drawn = [shape("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 })];
  if (!points.length) return drawn;
  const [first, last] = [points[0].at, points.at(-1).at];
  const x = (at) => (last > first ? ((at - first) / (last - first)) * WIDTH : WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - 2 - (value / top) * (HEIGHT - 4)).toFixed(1);
  for (const run of runs(points)) {
    const path = run.map(({ at, value }) => `${x(at)},${y(value)}`);
    if (run.length === 1) path.unshift(`${Math.max(0, x(run[0].at) - 3)},${y(run[0].value)}`);
    const [left, right] = [path[0].split(",")[0], path.at(-1).split(",")[0]];
    drawn.push(shape("polygon", { class: "area", points: `${left},${HEIGHT} ${path.join(" ")} ${right},${HEIGHT}` }));
    drawn.push(shape("polyline", { class: "spark", points: path.join(" ") }));
  }
  return drawn;
}

function runs(points) {
  const found = [[]];
  for (const point of points) {
    if (point.value !== null) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length);
}

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
