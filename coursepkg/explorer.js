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

const part = (kind, ...children) => html("div", { class: kind }, ...children);
const panel = (...children) => part("ce-panel", ...children);

// ---- controls; each tells `change` its new value, `restore` shows the old one
const labelled = (label, control) => html("label", { class: "ce-control" }, label, control);
const button = (label, click) => html("button", { type: "button", click }, label);
const select = (options, change) =>
  html("select", { change: (event) => change(event.target.value) },
    ...options.map((text) => html("option", {}, text)));
const checkbox = (label, checked, change) => html("label", { class: "ce-check" },
  html("input", {
    type: "checkbox", checked: checked ? "" : undefined,
    change: (event) => change(event.target.checked),
  }), label);

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
function fit(canvas, rows, columns, label, side = U) {
  canvas.setAttribute("viewBox", `-2 -2 ${columns * U + 4} ${rows * U + 4}`);
  canvas.setAttribute("width", columns * side + 4);
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

// What outlines a window: all that it reaches across, and the cells that it touches.
const outline = ([rows, columns], dilation) => [
  frame(0, 0, span(rows, dilation), span(columns, dilation), "ce-reach"),
  ...grid(rows, columns, (i, j) => frame(i * dilation, j * dilation, 1, 1, "ce-tap")).flat(),
];
function shift(mark, row, column) {
  mark.style.transform = `translate(${column * U}px, ${row * U}px)`;
}

function shades(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return (value) => (high > low ? (value - low) / (high - low) : 0.5);
}

// ---- keyboard and pointer
// A listener: keys({ ArrowUp: () => … }, () => isReady)
const keys = (actions, ready = () => true) => (event) => {
  const action = actions[event.key];
  if (!action || !ready() || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
};

// Where the pointer is on a drawing of so many rows and columns: [row, column].
function under(event, canvas, [rows, columns]) {
  const { top, left, width, height } = canvas.getBoundingClientRect();
  return [((event.clientY - top) * rows) / height, ((event.clientX - left) * columns) / width];
}

// ---- numbers and words
const range = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const clamp = (x, low, high) => Math.max(low, Math.min(x, high));
const sum = (values) => values.reduce((total, value) => total + value, 0);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

const grid = (rows, columns, value) =>
  range(0, rows - 1).map((i) => range(0, columns - 1).map((j) => value(i, j)));
const shape = (matrix) => [matrix.length, matrix[0].length];
const times = (sizes) => sizes.join(" × ");
const inWords = (rows) => rows.map((row) => row.join(" ")).join("; ");
const bracket = (x) => number(x).replace(/^−.*/, "($&)");

// At most two decimals, a true minus, no negative zero.
function number(x) {
  const hundredths = Math.floor(Math.abs(x) * 100 + 0.5);
  return (x < 0 && hundredths ? "−" : "") + (Number.isFinite(x) ? hundredths / 100 : "∞");
}

// ---- sliding windows; `settings` has stride, padding and dilation
const span = (kernel, dilation) => dilation * (kernel - 1) + 1;

// Zero or less where the kernel does not fit.
const outputSize = (size, kernel, { stride, padding, dilation }) =>
  Math.floor((size + 2 * padding - span(kernel, dilation)) / stride) + 1;

// What is wrong with a window, in the words of the Python functions; undefined if nothing is.
function tooWide(kernel, dilation, padded, hang = 0, rest = "") {
  const reach = span(kernel, dilation);
  return reach <= padded + hang ? undefined : `kernel=${kernel} with dilation=${dilation} spans ` +
    `${reach} but the padded input has ${padded}${rest}; add padding or shrink the kernel`;
}
const tooMuchPadding = (kernel, padding) => (2 * padding <= kernel ? undefined :
  `padding=${padding} exceeds half of kernel=${kernel}; ` +
  `use a padding of at most ${Math.floor(kernel / 2)}`);

function formula(size, kernel, { stride, padding, dilation, ceil_mode }) {
  const [open, close, round] = ceil_mode ? ["⌈", "⌉", Math.ceil] : ["⌊", "⌋", Math.floor];
  const room = size + 2 * padding - span(kernel, dilation);
  const long = `${size} + 2·${padding} − ${dilation}·(${kernel} − 1) − 1`;
  return `${open}(${long}) / ${stride}${close} + 1 = ` +
    `${open}${number(room)} / ${stride}${close} + 1 = ${number(round(room / stride) + 1)}`;
}
const onBothAxes = ([height, width]) => (height === width ?
  [`height = width = ${height}`] : [`height = ${height}`, `width = ${width}`]);

// A value of the padded plane; undefined in the padding, which counts as zero.
const read = (plane, row, column, padding) => plane[row - padding]?.[column - padding];

// What stands in one sum: [kernel value, input value] for each tap, kh × kw.
const pairs = (plane, kernel, { stride, padding, dilation }, [row, column]) =>
  kernel.map((taps, i) => taps.map((tap, j) =>
    [tap, read(plane, row * stride + i * dilation, column * stride + j * dilation, padding) ?? 0]));

const products = (...place) => pairs(...place).map((line) => line.map(([tap, x]) => tap * x));

// input: (C, H, W), kernel: (C, kh, kw) -> (H', W')
function conv2d(input, kernel, bias, settings) {
  const rows = outputSize(input[0].length, kernel[0].length, settings);
  const columns = outputSize(input[0][0].length, kernel[0][0].length, settings);
  const value = (place) => bias +
    sum(input.flatMap((plane, c) => products(plane, kernel[c], settings, place).flat()));
  return grid(rows, columns, (row, column) => value([row, column]));
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
