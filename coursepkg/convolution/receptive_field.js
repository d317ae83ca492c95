// Stack layers and see what each unit sees: first the numbers, then the figure that shows them.
// ---- numbers, on one axis; a layer has kind, kernel, stride, padding and dilation
// What the units of each level see of the input: unit i sees `size` pixels from start + i·jump on.
// Level 0 is the input itself; the list ends before the first layer that does not fit.
function fields(size, layers) {
  const levels = [{ units: size, size: 1, jump: 1, start: 0 }];
  for (const layer of layers) {
    const below = levels.at(-1);
    if (misfit(below.units, layer)) break;
    levels.push({
      units: outputSize(below.units, layer.kernel, layer),
      size: below.size + (span(layer.kernel, layer.dilation) - 1) * below.jump,
      jump: below.jump * layer.stride,
      start: below.start - layer.padding * below.jump,
    });
  }
  return levels;
}

const misfit = (size, { kind, kernel, padding, dilation }) =>
  (kind === "pool" ? tooMuchPadding(kernel, padding) : undefined) ??
  tooWide(kernel, dilation, size + 2 * padding);

// By level, from the input up to its own: what a unit is computed from, padding included. Padding
// itself is computed from nothing.
function sources(levels, layers, level, unit) {
  const found = [[unit]];
  for (let l = level; l > 0; l -= 1) {
    const { kernel, stride, padding, dilation } = layers[l - 1];
    const real = found[0].filter((i) => i >= 0 && i < levels[l].units);
    const taps = (i) => range(0, kernel - 1).map((t) => i * stride - padding + t * dilation);
    found.unshift([...new Set(real.flatMap(taps))].sort((a, b) => a - b));
  }
  return found;
}

// The units of the level below that a range of units reaches across, as if there were no borders.
const reaches = ([first, last], { kernel, stride, padding, dilation }) =>
  [first * stride - padding, last * stride - padding + span(kernel, dilation) - 1];

// ---- words
function inShort(units) {
  if (units.length < 2) return units.length ? number(units[0]) : "none";
  const [first, last] = [units[0], units.at(-1)].map(number);
  const gaps = units.length <= units.at(-1) - units[0];
  return gaps && units.length < 9 ? units.map(number).join(", ") :
    `${first} to ${last}${gaps ? ` (${units.length} of them)` : ""}`;
}

// ---- the figure
const LINE = 44; // height of one level
const BOX = { top: 20, height: 18 }; // where its units stand in it
const CUSTOM = "custom";
const SMALLEST = { kernel: 1, stride: 1, padding: 0, dilation: 1 };

function mount(root, { size, layers, stacks, limits }) {
  const state = { size, layers, level: Infinity, unit: 0 };
  let levels = [];
  let boxes = []; // by level: what is drawn of a unit, by its index
  let entries = []; // by layer: its controls and results in the list

  const stack = () => Object.keys(stacks).find((name) =>
    same(stacks[name], { size: state.size, layers: state.layers })) ?? CUSTOM;
  const title = (level) => (level ? `${level} ${state.layers[level - 1].kind}` : "input");
  const edge = (level, unit) => { // its left one, in pixels
    const { start, jump, size: seen } = levels[level];
    return start + unit * jump + (seen - jump) / 2;
  };
  const centre = (level, unit) => edge(level, unit) + levels[level].jump / 2;

  // ---- changes
  function update(changes) {
    const atTop = state.level >= levels.length - 1;
    Object.assign(state, changes);
    levels = fields(state.size, state.layers);
    drawList();
    drawLevels();
    if (atTop) choose(Infinity, Math.floor((levels.at(-1).units - 1) / 2));
    else choose(state.level, state.unit);
  }

  function choose(level, unit) {
    state.level = clamp(level, 0, levels.length - 1);
    state.unit = clamp(unit, 0, levels[state.level].units - 1);
    drawUnit();
  }

  // To the unit of another level that stands nearest.
  function climb(by) {
    const level = clamp(state.level + by, 0, levels.length - 1);
    const at = centre(state.level, state.unit) - centre(level, 0);
    choose(level, Math.round(at / levels[level].jump));
  }

  const change = (at, changes) => update({
    layers: state.layers.map((layer, i) => (i === at ? { ...layer, ...changes } : layer)),
  });
  const add = (kind, kernel, stride) => update({
    layers: [...state.layers, { kind, kernel, stride, padding: 0, dilation: 1 }],
  });
  function remove(at) {
    update({ layers: state.layers.filter((_, i) => i !== at) });
    const next = (entries[at] ?? entries.at(-1))?.removal ?? adders[0];
    next.focus(); // the button pressed is gone
  }

  // ---- controls
  const stackChoice = select([...Object.keys(stacks), CUSTOM], (name) => update(stacks[name] ?? {}));
  const sizeInput = numberInput("input pixels", (value) =>
    update({ size: clamp(Math.round(value), 1, limits.size) }), () => drawList());
  const adders = [
    button("Add conv", () => add("conv", 3, 1)), button("Add pool", () => add("pool", 2, 2)),
  ];
  function entry(i) {
    const setting = (name) => select(range(SMALLEST[name], limits[name]), (text) =>
      change(i, { [name]: Number(text) }));
    const controls = Object.fromEntries(Object.keys(SMALLEST).map((name) => [name, setting(name)]));
    controls.kind = select(["conv", "pool"], (kind) => change(i, { kind }));
    const removal = button("×", () => remove(i));
    for (const [name, node] of Object.entries({ ...controls, remove: removal })) {
      node.setAttribute("aria-label", `${name} of layer ${i + 1}`);
    }
    const { kind, ...numbers } = controls;
    const results = part("ce-results");
    const nodes = [html("span", {}, i + 1), kind, ...Object.values(numbers), removal, results];
    const row = html("li", {}, ...nodes);
    return { row, controls, removal, results };
  }

  // ---- parts
  const unitsDrawn = svg("g");
  const cone = svg("path", { class: "ce-cone" });
  const canvas = svg("svg", {
    role: "application", tabindex: "0", preserveAspectRatio: "none",
    pointerdown: point, pointermove: point,
    keydown: keys({
      ArrowLeft: () => choose(state.level, state.unit - 1),
      ArrowRight: () => choose(state.level, state.unit + 1),
      ArrowUp: () => climb(1), ArrowDown: () => climb(-1),
      Home: () => choose(state.level, 0), End: () => choose(state.level, Infinity),
    }),
  }, cone, unitsDrawn);
  const labels = part("ce-labels");
  const sentence = html("p", { class: "ce-sentence", "aria-live": "polite" });
  const path = html("p", { class: "ce-formula" });
  const list = html("ol", { class: "ce-layers" });
  const columns = ["", "layer", ...Object.keys(SMALLEST), "", "units", "size", "jump", "start"];
  const heading = html("div", { class: "ce-head", "aria-hidden": "true" },
    ...columns.map((text) => html("span", {}, text)));
  root.append(
    part("ce-bar", labelled("stack", stackChoice), labelled("input pixels", sizeInput), ...adders),
    part("ce-levels", canvas, labels), sentence, path,
    heading, list);

  function point(event) {
    const { x, width } = canvas.viewBox.baseVal;
    const [row, column] = under(event, canvas, [levels.length, width]);
    const level = clamp(levels.length - 1 - Math.floor(row), 0, levels.length - 1);
    choose(level, Math.floor((x + column - edge(level, 0)) / levels[level].jump));
  }

  // ---- drawing
  function drawList() {
    stackChoice.value = stack();
    showValue(sizeInput, state.size);
    for (const node of adders) node.disabled = state.layers.length >= limits.layers;
    rebuild(list, String(state.layers.length), () => {
      entries = state.layers.map((_, i) => entry(i));
      return entries.map(({ row }) => row);
    });
    entries.forEach(({ controls, results }, i) => {
      for (const name in controls) controls[name].value = state.layers[i][name];
      const { units, size: seen, jump, start } = levels[i + 1] ?? {};
      const numbers = Object.entries({ units, size: seen, jump, start });
      results.replaceChildren(...numbers.map(([name, value]) => html("span", {},
        html("span", { class: "ce-hidden ce-name" }, `${name} `), value === undefined ? "?" : number(value))));
    });
  }

  function drawLevels() {
    const margins = levels.map((_, level) => state.layers[level]?.padding ?? 0);
    const left = Math.min(...levels.map((_, level) => edge(level, -margins[level])));
    const right = Math.max(...levels.map(({ units }, level) =>
      edge(level, units + margins[level])));
    const height = levels.length * LINE;
    canvas.setAttribute("viewBox", `${left} 0 ${right - left} ${height}`);
    canvas.style.height = `${height}px`;
    canvas.setAttribute("aria-label", `${levels.length - 1} layers on ${state.size} pixels. ` +
      "Left and right move from unit to unit, up and down from layer to layer.");
    boxes = levels.map(({ units, jump }, level) => Object.fromEntries(
      range(-margins[level], units - 1 + margins[level]).map((unit) => [unit, svg("rect", {
        class: unit >= 0 && unit < units ? "ce-unit" : "ce-outside",
        x: edge(level, unit) + 0.05 * jump, y: top(level), width: 0.9 * jump, height: BOX.height,
      })])));
    unitsDrawn.replaceChildren(...boxes.flatMap(Object.values));
    labels.replaceChildren(...levels.map(({ units }, level) =>
      html("span", {}, `${title(level)} · ${units}`)).reverse());
  }

  const top = (level) => (levels.length - 1 - level) * LINE + BOX.top;

  function drawUnit() {
    const { level, unit } = state;
    const found = sources(levels, state.layers, level, unit);
    for (const node of unitsDrawn.querySelectorAll(".ce-lit")) node.classList.remove("ce-lit");
    found.forEach((units, l) => units.forEach((i) => boxes[l][i]?.classList.add("ce-lit")));
    drawCone();
    const wrong = state.layers[levels.length - 1];
    sentence.textContent = (wrong ? `Layer ${levels.length} does not fit: ` +
      `${misfit(levels.at(-1).units, wrong)}. ` : "") + inWordsOf(level, unit, found[0]);
    path.textContent = level < 2 ? "" : `It reads ${found.slice(1, -1)
      .map((units, l) => `layer ${l + 1}: ${inShort(units)}`).reverse().join("; ")}.`;
  }

  function drawCone() {
    let line = [state.unit, state.unit];
    const pieces = range(1, state.level).map((_, down) => {
      const level = state.level - down;
      const next = reaches(line, state.layers[level - 1]);
      const corners = [[level, line, top(level) + BOX.height], [level - 1, next, top(level - 1)]]
        .map(([at, [first, last], y]) => [`${edge(at, first)} ${y}`, `${edge(at, last + 1)} ${y}`]);
      line = next;
      return `M${corners[0][0]}L${corners[0][1]}L${corners[1][1]}L${corners[1][0]}Z`;
    });
    cone.setAttribute("d", pieces.join(""));
  }

  function inWordsOf(level, unit, pixels) {
    const { units, size: seen, jump, start } = levels[level];
    if (level === 0) return `Pixel ${unit} of the input, which has 0 to ${units - 1}.`;
    const [first, last] = [start + unit * jump, start + unit * jump + seen - 1];
    const inside = Math.max(Math.min(last, state.size - 1) - Math.max(first, 0) + 1, 0);
    const real = pixels.filter((i) => i >= 0 && i < state.size).length;
    return `Layer ${level} (${state.layers[level - 1].kind}), unit ${unit} of 0 to ${units - 1}, ` +
      `sees ${seen} pixel${seen > 1 ? "s" : ""}: from start + ${unit}·jump = ` +
      `${number(start)} + ${unit}·${jump} = ${number(first)} to ${number(last)}` +
      (inside < seen ? `; ${seen - inside} outside the image` : "") +
      (real < inside ? `; it reads ${real} of the ${inside} inside` : "") + ".";
  }

  update({});
}

define("receptive_field", { fields, sources }, mount);
