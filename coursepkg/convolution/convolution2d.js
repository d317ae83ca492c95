// Step through a 2-D convolution: first the numbers, then the figure that shows them.
// ---- numbers and words
// Keep the middle of a matrix: cut it, or surround it with zeros.
function resize(matrix, [rows, columns]) {
  const middle = (length) => Math.floor((length - 1) / 2);
  const top = middle(rows) - middle(matrix.length);
  const left = middle(columns) - middle(matrix[0].length);
  return grid(rows, columns, (i, j) => matrix[i - top]?.[j - left] ?? 0);
}

// "(−1)·3 + 0·5 + 1·2"; long sums keep their first terms and the last.
function terms(values) {
  const all = values.map(([tap, x]) => `${bracket(tap)}·${bracket(x)}`);
  return (all.length <= 9 ? all : [...all.slice(0, 5), "…", all.at(-1)]).join(" + ");
}

const FORMULA = "output size = ⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1";

// ---- the figure
const PAUSE = 700; // milliseconds from one place to the next while playing
const CUSTOM = "custom";

function mount(root, { input, kernel, bias, stride, padding, dilation, kernels, limits }) {
  const channels = input.length;
  const sizes = shape(input[0]);
  const state = {
    kernel, bias, stride, padding, dilation,
    channel: 0, all: true, place: [0, 0], visited: new Set(), timer: null,
  };

  // What follows from the state; pairs are (rows, columns).
  const taps = () => shape(state.kernel[0]);
  const reach = () => taps().map((k) => span(k, state.dilation));
  const padded = () => sizes.map((size) => size + 2 * state.padding);
  const places = () => sizes.map((size, axis) => outputSize(size, taps()[axis], state));
  const fits = () => places().every((count) => count > 0);
  const index = ([row, column] = state.place) => row * places()[1] + column;
  const last = () => places()[0] * places()[1] - 1;
  const which = () => (channels > 1 ? `, channel ${state.channel + 1}` : "");
  const used = () => (state.all ? range(0, channels - 1) : [state.channel]);
  const preset = () => Object.keys(kernels).find((name) => kernels[name].some((matrix) =>
    state.kernel.every((plane) => same(plane, matrix)))) ?? CUSTOM;

  // ---- changes
  function update(changes) {
    const before = places();
    Object.assign(state, changes);
    if (!same(before, places())) state.visited.clear();
    state.place = state.place.map((at, axis) => clamp(at, 0, places()[axis] - 1));
    if (fits()) state.visited.add(index());
    else pause();
    render();
  }

  const moveTo = (row, column) => update({ place: [row, column] });
  const jump = (to) => {
    const target = clamp(to, 0, last());
    moveTo(Math.floor(target / places()[1]), target % places()[1]);
  };

  function pause() {
    clearInterval(state.timer);
    state.timer = null;
  }

  function play() {
    if (state.timer !== null) pause();
    else {
      if (index() === last()) clear();
      state.timer = setInterval(() => {
        if (index() + 1 >= last() || !root.isConnected) pause();
        jump(index() + 1);
      }, PAUSE);
    }
    render();
  }

  function clear() {
    state.visited.clear();
    jump(0);
  }

  function showAll() {
    pause();
    range(0, last()).forEach((place) => state.visited.add(place));
    render();
  }

  const ofSize = (name, text) => kernels[name]?.find((matrix) => times(shape(matrix)) === text);

  function choosePreset(name) {
    if (name === CUSTOM) return render();
    const matrix = ofSize(name, times(taps())) ?? kernels[name][0];
    update({ kernel: input.map(() => matrix) });
  }

  function chooseSize(text) {
    const [named, wanted] = [ofSize(preset(), text), text.split(" × ").map(Number)];
    update({ kernel: state.kernel.map((plane) => named ?? resize(plane, wanted)) });
  }

  function edit(i, j, value) {
    const edited = state.kernel.map((plane) => plane.map((row) => [...row])); // no shared rows
    edited[state.channel][i][j] = value;
    update({ kernel: edited });
  }

  // ---- controls
  const setting = (name, first) =>
    select(range(first, limits[name]), (text) => update({ [name]: Number(text) }));
  const squares = range(1, limits.kernel).map((k) => times([k, k]));
  const choice = {
    kernel: select([...Object.keys(kernels), CUSTOM], choosePreset),
    size: select([...new Set([...squares, times(taps())])], chooseSize),
    stride: setting("stride", 1), padding: setting("padding", 0), dilation: setting("dilation", 1),
    ...(channels > 1 && {
      channel: select(range(1, channels), (text) => update({ channel: Number(text) - 1 })),
    }),
  };
  const biasInput = numberInput("bias", (value) => update({ bias: value }), render);
  const controls = [
    ...Object.entries(choice).map(([name, node]) => labelled(name, node)),
    labelled("bias", biasInput),
    ...(channels > 1 ? [checkbox("sum over channels", true, (all) => update({ all }))] : []),
  ];
  const playButton = button("Play", play);
  const buttons = [
    button("First", () => jump(0)), button("Previous", () => jump(index() - 1)), playButton,
    button("Next", () => jump(index() + 1)), button("Last", () => jump(last())),
    button("Show all", showAll), button("Clear", clear),
  ];

  const step = (rows, columns) => () => moveTo(state.place[0] + rows, state.place[1] + columns);
  const actions = {
    ArrowLeft: step(0, -1), ArrowRight: step(0, 1), ArrowUp: step(-1, 0), ArrowDown: step(1, 0),
    Home: () => jump(0), End: () => jump(last()), " ": play,
  };

  // ---- parts, and the page order in which they stand
  const cells = svg("g", { "aria-hidden": "true" });
  const noScroll = (event) => event.preventDefault(); // touch-action does not work inside SVG
  const mark = svg("g", { class: "ce-window", touchstart: noScroll });
  const canvas = svg("svg", {
    class: "ce-input", role: "application", tabindex: "0",
    keydown: keys(actions, fits), pointerdown: grab, pointermove: drag,
  }, cells, mark);
  const productCanvas = svg("svg", { class: "ce-products", role: "img" });
  const outputCanvas = svg("svg", { class: "ce-output", role: "img" });
  const kernelInputs = html("div", { class: "ce-kernel", role: "group" });
  const [inputTitle, kernelTitle, outputTitle] = range(1, 3).map(() => part("ce-caption"));
  const [inputRows, outputRows] = range(1, 2).map(() => part("ce-hidden"));
  const ledger = part("ce-ledger");
  const sentence = html("p", { class: "ce-sentence" });
  const sizeText = html("p", { class: "ce-formula" });
  root.append(part("ce-bar", ...controls),
    part("ce-stage", panel(inputTitle, canvas, inputRows),
      part("ce-middle", panel(kernelTitle, kernelInputs),
        panel(part("ce-caption", "Products"), productCanvas), ledger),
      panel(outputTitle, outputCanvas, outputRows)),
    part("ce-bar ce-steps", ...buttons), sentence, sizeText);

  // ---- pointer
  const at = (event) => under(event, canvas, padded());
  let grip = null; // from the window's corner to the pointer, in cells
  function grab(event) {
    if (!fits() || event.button !== 0) return;
    pause();
    const offset = at(event).map((at, axis) => at - state.place[axis] * state.stride);
    const inside = offset.every((at, axis) => at >= 0 && at <= reach()[axis]);
    grip = inside ? offset : reach().map((length) => length / 2);
    canvas.setPointerCapture(event.pointerId);
    drag(event);
  }

  function drag(event) {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    moveTo(...at(event).map((at, axis) => Math.round((at - grip[axis]) / state.stride)));
  }

  // ---- drawing
  function render() {
    const playing = state.timer !== null;
    const values = {
      ...state, kernel: preset(), size: times(taps()), channel: state.channel + 1,
    };
    for (const name in choice) choice[name].value = values[name];
    showValue(biasInput, state.bias);
    playButton.textContent = playing ? "Pause" : "Play";
    sentence.setAttribute("aria-live", playing ? "off" : "polite");
    for (const node of buttons) node.disabled = !fits();
    root.classList.toggle("ce-misfit", !fits());
    for (const draw of [drawInput, drawWindow, drawKernel, drawSize]) draw();
    if (fits()) drawPlace();
    else explain();
  }

  function drawInput() {
    const plane = input[state.channel];
    const shade = shades(input.flat(2));
    const seen = places().map((count, axis) => (count - 1) * state.stride + reach()[axis]);
    const one = (i, j) => {
      const x = read(plane, i, j, state.padding);
      const unread = fits() && (i >= seen[0] || j >= seen[1]) ? "ce-unread" : "";
      return x === undefined ? cell(i, j, "0", { kind: `ce-pad ${unread}` }) :
        cell(i, j, number(x), { kind: unread, shade: shade(x) });
    };
    cells.replaceChildren(...grid(...padded(), one).flat());
    inputTitle.textContent = `Input${which()}: ${times(sizes)}` +
      (state.padding ? `, padded to ${times(padded())}` : "");
    fit(canvas, ...padded(), `${inputTitle.textContent}. Arrow keys move the window; space plays.`);
    inputRows.textContent = `Rows of the input: ${inWords(plane.map((row) => row.map(number)))}`;
  }

  function drawWindow() {
    rebuild(mark, `${taps()} ${reach()}`, () => outline(taps(), state.dilation));
    shift(mark, ...state.place.map((at) => at * state.stride));
  }

  function drawKernel() {
    const plane = state.kernel[state.channel];
    kernelTitle.textContent = `Kernel${which()}`;
    kernelInputs.setAttribute("aria-label", kernelTitle.textContent);
    kernelInputs.style.gridTemplateColumns = `repeat(${taps()[1]}, ${U}px)`;
    const one = (i, j) =>
      numberInput(`Kernel row ${i + 1}, column ${j + 1}`, (value) => edit(i, j, value), render);
    rebuild(kernelInputs, times(taps()), () => grid(...taps(), one).flat());
    plane.flat().forEach((value, place) => showValue(kernelInputs.children[place], value));
  }

  function drawPlace() {
    const at = (c) => [input[c], state.kernel[c], state, state.place];
    const [row, column] = state.place;
    const parts = products(...at(state.channel));
    const sums = used().map((c) => sum(products(...at(c)).flat()));
    const [planes, kernels] = [input, state.kernel].map((all) => used().map((c) => all[c]));
    const output = conv2d(planes, kernels, state.bias, state);
    const total = output[row][column];
    drawProducts(parts);
    drawLedger(sums, total);
    drawOutput(output);
    const steps = [...sums.map(bracket), `bias ${bracket(state.bias)}`].join(" + ");
    const rest = sums.length > 1 || state.bias !== 0 ? `; output ${steps} = ${number(total)}` : "";
    sentence.textContent = `Row ${row + 1}, column ${column + 1}${which()}: ` +
      `${terms(pairs(...at(state.channel)).flat())} = ${number(sum(parts.flat()))}${rest}`;
  }

  function drawLedger(sums, total) {
    const entry = (name, value, kind = "") =>
      [name, number(value)].map((text) => html("span", { class: kind }, text));
    const channel = (c, i) => entry(
      channels > 1 ? `channel ${c + 1}` : "sum", sums[i], c === state.channel ? "ce-shown" : "");
    ledger.replaceChildren(...used().flatMap(channel),
      ...entry("bias", state.bias), ...entry("output", total, "ce-total"));
  }

  function drawProducts(parts) {
    const text = parts.map((line) => line.map(number));
    fit(productCanvas, ...taps(), `Products: ${inWords(text)}`);
    productCanvas.replaceChildren(...grid(...taps(), (i, j) => cell(i, j, text[i][j])).flat());
  }

  function drawOutput(output) {
    const shade = shades(output.flat());
    const seen = (...at) => state.visited.has(index(at));
    const text = (i, j) => (seen(i, j) ? number(output[i][j]) : "");
    const one = (i, j) =>
      cell(i, j, text(i, j), seen(i, j) ? { shade: shade(output[i][j]) } : { kind: "ce-empty" });
    outputTitle.textContent = `Output: ${times(places())}`;
    fit(outputCanvas, ...places(),
      `${outputTitle.textContent}, ${state.visited.size} of ${last() + 1} computed`);
    outputCanvas.replaceChildren(
      ...grid(...places(), one).flat(), frame(...state.place, 1, 1, "ce-tap"));
    const rows = grid(...places(), (i, j) => text(i, j) || "not yet");
    outputRows.textContent = `Rows of the output: ${inWords(rows)}`;
  }

  function drawSize() {
    const lines = sizes.map((size, axis) => formula(size, taps()[axis], state));
    const named = onBothAxes(lines);
    const left = padded().map((length, axis) => (length - reach()[axis]) % state.stride);
    if (fits() && sum(left) > 0) {
      named.push(`Not read, and hatched: rows at the bottom ${left[0]}, columns at the right ${left[1]}.`);
    }
    sizeText.replaceChildren(...[FORMULA, ...named].map((line) => html("span", {}, line)));
  }

  function explain() {
    const axis = places()[0] > 0 ? 1 : 0;
    outputTitle.textContent = "Output: none";
    sentence.textContent = `The kernel does not fit: with dilation ${state.dilation} it is ` +
      `${reach()[axis]} cells ${["high", "wide"][axis]}, but the padded input has ` +
      `${padded()[axis]}. Add padding, or choose a smaller kernel or dilation.`;
  }

  update({});
}

define("convolution2d", { conv2d }, mount);
