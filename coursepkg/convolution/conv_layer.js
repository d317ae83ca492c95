// A layer of PyTorch on a few small maps: first what it computes, then the figure that shows it.
// ---- numbers; a map is a matrix, and `s` holds the settings of a layer
// By padding mode: which of n values stands at place i, and how many can be added at an end.
const SOURCES = {
  zeros: (i) => i,
  reflect: (i, n) => n - 1 - Math.abs(n - 1 - Math.abs(i)),
  replicate: (i, n) => clamp(i, 0, n - 1),
  circular: (i, n) => (i + n) % n,
};
const MOST = { reflect: (n) => n - 1, circular: (n) => n };

// Surround a map: (H, W) -> sizes, with its first value at [padding, padding].
function pad(plane, sizes, padding, mode = "zeros", fill = 0) {
  const [source, [height, width]] = [SOURCES[mode], shape(plane)];
  return grid(...sizes, (i, j) =>
    plane[source(i - padding, height)]?.[source(j - padding, width)] ?? fill);
}

// What is wrong with the settings, in the words of the Python functions.
const firstOf = (values, complaint) => values.map(complaint).find(Boolean);

function convProblem([height, width], s) {
  const { kernel_size, padding, padding_mode: mode, dilation, groups } = s;
  const indivisible = (name) => s[name] % groups &&
    `groups=${groups} does not divide ${name}=${s[name]}; use a divisor of ${s[name]}`;
  const tooMuch = (n) => padding > MOST[mode]?.(n) &&
    `padding=${padding} is too much for mode='${mode}' on an axis of ${n}; ` +
    `use at most ${MOST[mode](n)}, or mode='replicate'`;
  return firstOf(["in_channels", "out_channels"], indivisible) ??
    firstOf([height, width], tooMuch) ??
    firstOf([height, width], (n) => tooWide(kernel_size, dilation, n + 2 * padding));
}

function poolProblem(sizes, { kernel_size, stride, padding, dilation, ceil_mode, hang }) {
  const rest = `, and ceil_mode with stride=${stride} lets a window hang over by ${hang} at most`;
  return tooMuchPadding(kernel_size, padding) ?? firstOf(sizes, (n) =>
    tooWide(kernel_size, dilation, n + 2 * padding, hang, ceil_mode ? rest : ""));
}

// ---- what a layer computes; all windows lie on `planes`, the padded maps
// input: (C, H, W), bank: the parts of each filter
function convLayer(input, s, bank) {
  const { in_channels, out_channels, kernel_size, stride, padding, dilation, groups } = s;
  const problem = convProblem(shape(input[0]), s);
  if (problem) return { problem };
  const share = range(0, in_channels / groups - 1); // the maps of one group
  const group = (o) => Math.floor((o * groups) / out_channels);
  const sees = (o) => share.map((c) => group(o) * share.length + c);
  const sizes = shape(input[0]).map((n) => n + 2 * padding);
  const planes = input.slice(0, in_channels)
    .map((plane) => pad(plane, sizes, padding, s.padding_mode));
  const parts = bank.slice(0, out_channels);
  const filters = parts.map((each) => share.map((c) => kernel(each, c, kernel_size)));
  const bias = parts.map((each) => (s.bias ? each.bias : 0));
  const output = filters.map((kernels, o) =>
    conv2d(sees(o).map((c) => planes[c]), kernels, bias[o], { stride, padding: 0, dilation }));
  return { planes, sees, filters, bias, output, stride, hang: 0 };
}

const kernel = ({ mix, down, across }, channel, size) =>
  grid(size, size, (i, j) => mix[channel] * down[size - 1][i] * across[size - 1][j]);

function poolLayer(input, settings) {
  const stride = settings.stride ?? settings.kernel_size;
  const s = { ...settings, stride, hang: settings.ceil_mode ? stride - 1 : 0 };
  const sizes = shape(input[0]);
  const problem = poolProblem(sizes, s);
  if (problem) return { problem };
  const places = sizes.map((n) => poolSize(n, s));
  const extent = sizes.map((n, axis) => Math.max(
    n + 2 * s.padding, (places[axis] - 1) * stride + span(s.kernel_size, s.dilation)));
  const planes = input.map((plane) => pad(plane, extent, s.padding, "zeros", -Infinity));
  const output = planes.map((plane) =>
    grid(...places, (...place) => Math.max(...covered(plane, s, place))));
  return { planes, sees: (o) => [o], output, stride, hang: s.hang };
}

// A last window that hangs over must start inside the input or its left padding.
function poolSize(size, s) {
  const places = outputSize(size + s.hang, s.kernel_size, s);
  return places - ((places - 1) * s.stride >= size + s.padding);
}

// The values under the window, in order of reading.
const covered = (plane, { kernel_size: k, stride, dilation }, [row, column]) =>
  grid(k, k, (i, j) => plane[row * stride + i * dilation][column * stride + j * dilation]).flat();

// ---- words
const PYTHON = { true: "True", false: "False", null: "None" };
const python = (value) => PYTHON[value] ?? (typeof value === "string" ? `"${value}"` : value);
const tuple = (...sizes) => `(${sizes.join(", ")}${sizes.length > 1 ? "" : ","})`;
const list = (numbers) => (numbers.length > 1 ?
  `${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1)}` : `${numbers[0]}`);

// The line of PyTorch: what must be given, then whatever differs from the default.
const REQUIRED = ["in_channels", "out_channels", "kernel_size"];
function constructor(layer, s, defaults) {
  const first = REQUIRED.filter((name) => name in s).map((name) => s[name]);
  const rest = Object.keys(s).filter((name) => !REQUIRED.includes(name) && s[name] !== defaults[name])
    .map((name) => `${name}=${python(s[name])}`);
  return `nn.${layer}(${[...first, ...rest].join(", ")})`;
}

function convCounts({ in_channels, out_channels, kernel_size: k, groups, bias }, places) {
  const weight = [out_channels, in_channels / groups, k, k];
  const [outputs, taps] = [[out_channels, ...places], weight.slice(1)];
  return [
    bias ? `weight ${tuple(...weight)} and bias ${tuple(out_channels)}: ${weight.join("·")} + ` +
      `${out_channels} = ${multiply(weight) + out_channels} parameters` :
      `weight ${tuple(...weight)}: ${weight.join("·")} = ${multiply(weight)} parameters`,
    `${outputs.join("·")} outputs of ${taps.join("·")} products: ` +
      `${multiply([...outputs, ...taps])} multiply-adds for one image`,
  ];
}
const multiply = (values) => values.reduce((total, value) => total * value, 1);
const poolCounts = ({ kernel_size: k }) =>
  [`no weights, 0 parameters: each output is the largest of ${k}·${k} values`];

const LAYERS = {
  Conv2d: { compute: convLayer, counts: convCounts },
  MaxPool2d: { compute: poolLayer, counts: poolCounts },
};

// ---- the figure
const SIDE = 22; // of a cell, in CSS pixels

function mount(root, { layer, input, bank, settings, choices, defaults }) {
  const state = { layer, settings, unit: [0, 0, 0] }; // output map, row, column
  let now = {}; // what the layer computes
  let marks = []; // per input map, what shows the window
  let cards = []; // per output map: the card, and the frame around the chosen unit

  const s = () => state.settings[state.layer];
  const how = () => ({ ...s(), stride: now.stride });
  const places = () => shape(now.output[0]);

  function update(changes) {
    Object.assign(s(), changes);
    now = LAYERS[state.layer].compute(input, s(), bank);
    drawAll();
  }

  function choose(unit) {
    const most = [now.output.length, ...places()];
    state.unit = unit.map((at, axis) => clamp(at, 0, most[axis] - 1));
    drawUnit();
  }

  // ---- controls
  const layerChoice = select(Object.keys(choices), (name) => {
    state.layer = name;
    update({});
  });
  const shown = (value) => String(value ?? "None");
  function control(name, values) {
    const change = (value) => update({ [name]: value });
    if (typeof values[0] === "boolean") return checkbox(name, s()[name], change);
    const node = select(values.map(shown), (text) =>
      change(values.find((value) => shown(value) === text)));
    node.value = shown(s()[name]);
    return labelled(name, node);
  }

  // ---- parts
  const step = (...by) => () => choose(state.unit.map((at, axis) => at + by[axis]));
  const actions = {
    ArrowLeft: step(0, 0, -1), ArrowRight: step(0, 0, 1),
    ArrowUp: step(0, -1, 0), ArrowDown: step(0, 1, 0),
    PageUp: step(-1, 0, 0), PageDown: step(1, 0, 0),
    Home: () => choose([state.unit[0], 0, 0]), End: () => choose([state.unit[0], ...places()]),
  };
  const bar = part("ce-settings");
  const code = html("code", {});
  const inputs = part("ce-maps ce-inputs");
  const outputs = html("div", {
    class: "ce-maps ce-outputs", role: "application", tabindex: "0",
    keydown: keys(actions, () => !now.problem),
  });
  const sentence = html("p", { class: "ce-sentence", "aria-live": "polite" });
  const facts = html("p", { class: "ce-formula" });
  const rows = part("ce-hidden");
  root.append(part("ce-bar", labelled("layer", layerChoice), bar), html("p", {}, code),
    inputs, outputs, sentence, facts, rows);

  // ---- drawing
  function drawAll() {
    layerChoice.value = state.layer;
    rebuild(bar, state.layer, () =>
      Object.entries(choices[state.layer]).map(([name, values]) => control(name, values)));
    code.textContent = constructor(state.layer, s(), defaults[state.layer]);
    if (now.problem) {
      sentence.textContent = `This does not fit: ${now.problem}`;
      for (const node of [inputs, outputs, facts, rows]) node.replaceChildren();
      return;
    }
    drawInputs();
    drawOutputs();
    drawFacts();
    drawRows();
    choose(state.unit);
  }

  const drawing = (plane, cellOf, ...more) => {
    const canvas = svg("svg", { "aria-hidden": "true" },
      ...grid(...shape(plane), (i, j) => cellOf(i, j, plane[i][j])).flat(), ...more);
    fit(canvas, ...shape(plane), "", SIDE);
    return canvas;
  };

  function drawInputs() {
    const shade = shades(input.flat(2));
    const [height, width] = shape(input[0]);
    const inside = (at, size) => at >= s().padding && at < s().padding + size;
    const one = (i, j, x) => cell(i, j, number(x),
      inside(i, height) && inside(j, width) ? { shade: shade(x) } : { kind: "ce-pad" });
    const best = () => (now.filters ? [] : [frame(0, 0, 1, 1, "ce-best")]);
    const size = [s().kernel_size, s().kernel_size];
    marks = now.planes.map(() => svg("g", {}, ...outline(size, s().dilation), ...best()));
    inputs.style.setProperty("--columns", now.planes[0][0].length);
    inputs.replaceChildren(...now.planes.map((plane, c) =>
      panel(part("ce-caption", `Input map ${c + 1}`), drawing(plane, one, marks[c]))));
  }

  function drawOutputs() {
    cards = now.output.map((plane, o) => {
      const shade = shades(now.filters ? plane.flat() : input.flat(2));
      const one = (i, j, x) => cell(i, j, number(x), { shade: shade(x) });
      const mark = frame(0, 0, 1, 1, "ce-tap");
      const canvas = drawing(plane, one, mark);
      const point = (event) => choose([o, ...under(event, canvas, places()).map(Math.floor)]);
      for (const kind of ["pointerdown", "pointermove"]) canvas.addEventListener(kind, point);
      const card = panel(...drawFilter(o), part("ce-caption", `Output map ${o + 1}`), canvas);
      return { card, mark };
    });
    outputs.setAttribute("aria-label", `Output maps: ${times([cards.length, ...places()])}. ` +
      "Arrow keys move in a map; page up and page down change the map.");
    outputs.style.setProperty("--columns", places()[1]);
    outputs.replaceChildren(...cards.map(({ card }) => card));
  }

  function drawFilter(o) {
    if (!now.filters) return [];
    const kernels = now.filters[o].map((plane, c) => part("ce-kernel-of",
      drawing(plane, (i, j, x) => cell(i, j, number(x), { kind: "ce-weight" })),
      part("ce-caption", `on map ${now.sees(o)[c] + 1}`)));
    const bias = s().bias ? [part("ce-caption", `bias ${number(now.bias[o])}`)] : [];
    return [part("ce-caption", `Filter ${o + 1}`), part("ce-kernels", ...kernels), ...bias];
  }

  function drawFacts() {
    const lines = shape(input[0]).map((n, axis) =>
      formula(n, s().kernel_size, how()) + fewer(n, places()[axis]));
    const [before, after] = [now.planes.length, now.output.length];
    facts.replaceChildren(...[
      `input ${tuple(1, before, ...shape(input[0]))} → output ${tuple(1, after, ...places())}`,
      ...LAYERS[state.layer].counts(s(), places()), ...onBothAxes(lines),
    ].map((line) => html("span", {}, line)));
  }

  // For those who hear the page: every number drawn.
  function drawRows() {
    const inputWords = now.planes.map((plane, c) => [`Input map ${c + 1}`, plane]);
    const filterWords = (now.filters ?? []).flatMap((planes, o) =>
      planes.map((plane, c) => [`Filter ${o + 1} on map ${now.sees(o)[c] + 1}`, plane]));
    const outputWords = now.output.map((plane, o) => [`Output map ${o + 1}`, plane]);
    rows.replaceChildren(...[...inputWords, ...filterWords, ...outputWords].map(([name, plane]) =>
      html("p", {}, `${name}: ${inWords(plane.map((row) => row.map(number)))}`)));
  }

  // The formula counts a window that starts behind the input; PyTorch leaves it out.
  const fewer = (n, count) => (outputSize(n + now.hang, s().kernel_size, how()) > count ?
    `, but the last one would start behind the input: ${count}` : "");

  function drawUnit() {
    const [o, ...place] = state.unit;
    const used = now.sees(o);
    const corner = place.map((at) => at * now.stride);
    marks.forEach((mark, c) => {
      mark.style.display = used.includes(c) ? "" : "none";
      shift(mark, ...corner);
    });
    cards.forEach(({ card, mark }, i) => {
      card.classList.toggle("ce-chosen", i === o);
      mark.style.display = i === o ? "" : "none";
      shift(mark, ...place);
    });
    sentence.textContent = `Output map ${o + 1}, row ${place[0] + 1}, column ${place[1] + 1}: ` +
      (now.filters ? convSentence(o, place) : poolSentence(o, place));
  }

  function convSentence(o, place) {
    const used = now.sees(o);
    const sums = used.map((c, i) =>
      sum(products(now.planes[c], now.filters[o][i], { ...s(), padding: 0 }, place).flat()));
    const parts = [...sums.map((x, i) => `${bracket(x)} from map ${used[i] + 1}`),
      ...(s().bias ? [`bias ${bracket(now.bias[o])}`] : [])];
    return `filter ${o + 1} on input map${used.length > 1 ? "s" : ""} ` +
      `${list(used.map((c) => c + 1))}: ${parts.join(" + ")} = ` +
      `${number(now.output[o][place[0]][place[1]])}`;
  }

  function poolSentence(o, place) {
    const { kernel_size, dilation } = s();
    const values = covered(now.planes[o], how(), place);
    const best = values.indexOf(Math.max(...values));
    const at = [Math.floor(best / kernel_size), best % kernel_size].map((tap) => tap * dilation);
    shift(marks[o].querySelector(".ce-best"), ...at);
    return `the largest of ${values.map(number).join(", ")} on input map ${o + 1} is ` +
      `${number(values[best])}`;
  }

  update({});
}

define("conv_layer", { Conv2d: convLayer, MaxPool2d: poolLayer }, mount);
