"use strict";

// Tables: sort by any column, numbers by their value, empty cells last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const numeric = [...table.tBodies[0].rows].some(row => row.cells[column].dataset.value !== undefined);
    const first = numeric ? "descending" : "ascending";
    const second = numeric ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? second : first;
    heads.forEach(other => other.setAttribute("aria-sort", other === head ? order : "none"));
    sortRows(table.tBodies[0], column, order === "ascending" ? 1 : -1, numeric);
  }));
}

function sortRows(body, column, sign, numeric) {
  const keyed = [...body.rows].map(row => {
    const cell = row.cells[column];
    const text = cell.textContent;
    if (numeric) return [cell.dataset.value === undefined ? null : Number(cell.dataset.value), row];
    return [text === "-" || text === "" ? null : text, row];
  });
  const compare = numeric ? (a, b) => a - b : new Intl.Collator("en", { numeric: true }).compare;
  keyed.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b));
  body.append(...keyed.map(([, row]) => row));
}

// Filters: words anywhere in a row, and exact values of some columns.
for (const form of document.querySelectorAll("form[data-filter]")) {
  const table = document.getElementById(form.dataset.filter);
  const keys = [...table.tHead.rows[0].cells].map(head => head.dataset.key);
  const rows = [...table.tBodies[0].rows].map(row => ({ row, text: row.textContent.toLowerCase() }));
  const selects = [...form.querySelectorAll("select")];
  const summed = keys.indexOf(form.dataset.sum);
  for (const select of selects) {
    const column = keys.indexOf(select.name);
    for (const value of [...new Set(rows.map(({ row }) => row.cells[column].textContent))].sort()) select.add(new Option(value, value));
  }
  const apply = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0, sum = 0;
    for (const { row, text } of rows) {
      const wanted = words.every(word => text.includes(word)) &&
        selects.every(select => !select.value || row.cells[keys.indexOf(select.name)].textContent === select.value);
      row.hidden = !wanted;
      if (!wanted) continue;
      count += 1;
      if (summed >= 0) sum += Number(row.cells[summed].dataset.value);
    }
    form.querySelector("output").textContent = `${count} of ${rows.length} rows` + (summed < 0 ? "" : `, ${Number(sum.toPrecision(3))} s`);
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", event => event.preventDefault());
  apply();
}

// Downloads: browsers cap long data links, so each becomes a local object.
for (const link of document.querySelectorAll("a.download")) {
  link.addEventListener("click", () => {
    if (!link.href.startsWith("data:")) return;
    const bytes = Uint8Array.from(atob(link.href.split(",", 2)[1]), letter => letter.charCodeAt(0));
    link.href = URL.createObjectURL(new Blob([bytes], { type: "text/csv" }));
  });
}

// Charts: plotly is in the page, compressed.
async function unpackPlotly() {
  const bytes = Uint8Array.from(atob(document.getElementById("plotly").textContent), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const [ink, line, back] = ["--ink", "--line", "--back"].map(name => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line };
  return {
    ...layout,
    font: { color: ink, family: "system-ui, sans-serif", size: 13 },
    xaxis: { ...layout.xaxis, ...axis, ...(narrow() ? { nticks: 4 } : {}) },
    yaxis: { ...narrowed(layout.yaxis), ...axis },
    hoverlabel: { ...layout.hoverlabel, bgcolor: back, bordercolor: line, font: { color: ink } },
    modebar: { color: line, activecolor: ink, bgcolor: "rgba(0,0,0,0)" },
  };
}

const narrow = () => innerWidth < 600;

// Names take little of a narrow screen when they are broken at their commas.
function narrowed(axis) {
  if (!axis.ticktext || !narrow()) return axis;
  const broken = axis.ticktext.map(text => text.replaceAll(/(,| ·|:) /g, "$1<br>"));
  return { ...axis, ticktext: broken, tickfont: { size: 10 } };
}

const coarse = matchMedia("(pointer: coarse)");
const dark = matchMedia("(prefers-color-scheme: dark)");

function draw(figure, place) {
  const layout = themed(figure.layout);
  if (figure.zoom) layout.dragmode = coarse.matches ? false : "zoom";
  return Plotly.react(place, figure.data, layout, {
    responsive: true,
    displaylogo: false,
    displayModeBar: document.documentElement.dataset.still === undefined && "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d"],
    toImageButtonOptions: { format: "svg", filename: figure.name },
  });
}

const moves = {
  in: (a, b) => [a + (b - a) / 4, b - (b - a) / 4],
  out: (a, b) => [a - (b - a) / 2, b + (b - a) / 2],
  left: (a, b) => [a - (b - a) / 4, b - (b - a) / 4],
  right: (a, b) => [a + (b - a) / 4, b + (b - a) / 4],
};

function zoom(place, step) {
  if (step === "all") return Plotly.relayout(place, { "xaxis.autorange": true });
  return Plotly.relayout(place, { "xaxis.range": moves[step](...place._fullLayout.xaxis.range) });
}

async function drawAll() {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const placed = figures.map(figure => [figure, document.getElementById(figure.name)]).filter(([, place]) => place);
  if (!placed.length) return;
  await unpackPlotly();
  for (const [figure, place] of placed) await draw(figure, place);
  dark.addEventListener("change", () => placed.forEach(([figure, place]) => draw(figure, place)));
  for (const tools of document.querySelectorAll("[data-zoom]")) {
    const place = document.getElementById(tools.dataset.zoom);
    tools.addEventListener("click", event => event.target.dataset.step && zoom(place, event.target.dataset.step));
  }
  document.documentElement.dataset.drawn = placed.length;
}

drawAll().catch(error => {
  for (const place of document.querySelectorAll(".chart")) {
    if (place.childElementCount) continue;
    place.classList.add("failed");
    place.style.minHeight = "0";
    place.textContent = `The chart cannot be drawn here (${error.message}); browsers from 2023 on can. Its numbers are in the CSV below.`;
  }
});
