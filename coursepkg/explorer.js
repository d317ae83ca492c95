// What all explorers share. Python puts this file and the explorer's own into one function, so
// these names are local to it. A plain script: modules and fetch do not work from file://.
function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// html("button", { type: "button", click: run }, "Run"), svg("rect", { x: 1 })
const html = (tag, attributes = {}, ...children) =>
  build(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// ---- controls; each tells `change` its new value, `restore` shows the old one
const labelled = (label, control) => html("label", { class: "ce-control" }, label, control);
const button = (label, click) => html("button", { type: "button", click }, label);
const select = (options, change) =>
  html("select", { change: (event) => change(event.target.value) },
    ...options.map((text) => html("option", {}, text)));

function numberInput(label, change, restore) {
  const input = ({ target }) => {
    const valid = Number.isFinite(target.valueAsNumber);
    target.setAttribute("aria-invalid", !valid);
    if (valid) change(target.valueAsNumber);
  };
  return html("input", { type: "number", step: "any", "aria-label": label, input, blur: restore });
}

// Build anew only for another key: a child that is held or typed into must stay.
function rebuild(node, key, children) {
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  node.replaceChildren(...children());
}

// Show a value in a number input, unless it says so already or is being typed.
function showValue(node, value) {
  const typing = node === document.activeElement && !Number.isFinite(node.valueAsNumber);
  const short = (x) => Math.round(x * 100) / 100;
  if (typing || short(node.valueAsNumber) === short(value)) return;
  node.value = short(value);
  node.removeAttribute("aria-invalid");
}

// ---- grids of cells; rows and columns count cells, U is the side of one
const U = 30;
const HATCH = `M0 ${U / 2}L${U / 2} 0M0 ${U}L${U} 0M${U / 2} ${U}L${U} ${U / 2}`;
function fit(canvas, rows, columns, label) {
  canvas.setAttribute("viewBox", `-2 -2 ${columns * U + 4} ${rows * U + 4}`);
  canvas.setAttribute("width", columns * U + 4);
  canvas.setAttribute("aria-label", label);
}

const frame = (row, column, rows, columns, kind) => svg("rect", {
  class: kind, x: column * U, y: row * U, width: columns * U, height: rows * U, rx: 3,
});

// `shade` runs from 0, dark, to 1, bright; without it the cell is blank.
function cell(row, column, text, { kind = "", shade } = {}) {
  return svg("g", { class: `ce-cell ${kind}`, transform: `translate(${column * U} ${row * U})` },
    svg("rect", { width: U, height: U, style: shade >= 0 ? `--shade: ${100 * shade}%` : undefined }),
    svg("path", { class: "ce-hatch", d: HATCH }),
    svg("text", { x: U / 2, y: U / 2, "font-size": Math.min(12.5, 42 / text.length) }, text));
}

function shades(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return (value) => (high > low ? (value - low) / (high - low) : 0.5);
}

// ---- numbers and words
const range = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const clamp = (x, low, high) => Math.max(low, Math.min(x, high));
const sum = (values) => values.reduce((total, value) => total + value, 0);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// At most two decimals, a true minus, no negative zero.
function number(x) {
  const hundredths = Math.floor(Math.abs(x) * 100 + 0.5);
  return (x < 0 && hundredths ? "−" : "") + hundredths / 100;
}

// Publish the numbers of an explorer, and bring to life each of its figures on the page.
function define(name, numbers, mount) {
  window.CourseExplorer = { ...window.CourseExplorer, [name]: numbers };
  for (const root of document.querySelectorAll(`[data-explorer="${name}"]`)) {
    if (root.alive) continue;
    root.alive = true;
    root.replaceChildren();
    root.addEventListener("keydown", (event) => event.stopPropagation()); // pages have shortcuts
    mount(root, JSON.parse(root.dataset.settings));
  }
}
