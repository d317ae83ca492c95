// Walk through a network: first the numbers, then the figure that shows them.
// ---- numbers; see _packed in explorers.py for how they arrive
// A network: its layers, and the boxes that they are drawn as, each with boxes of its own or none.
function network({ words, shapes, kinds, drawings, networks }, name) {
  const packed = networks[name];
  const names = unshortened(packed.names);
  const layers = names.map((layer, i) => {
    const [word, shape, parameters, macs, memory] = kinds[packed.layers[2 * i]];
    const field = packed.layers[2 * i + 1];
    return { name: layer, what: words[word], shape: shapes[shape], parameters, macs, memory, field };
  });
  const boxesOf = (drawing, above, first) => drawings[drawing].map(
    ([labels, shape, own, inside, around, sources, inner, read]) => {
      const [ran, lent] = [inside, around].map((ranges) => spread(ranges).map((i) => first + i));
      const box = {
        name: words[own] && above ? `${above}.${words[own]}` : words[own], // functions have none
        labels: labels.map((label) => words[label]),
        shape: shapes[shape],
        sources,
        layers: [...ran, ...lent].sort((a, b) => a - b).map((i) => layers[i]),
        field: widest((ran.length ? ran : lent).map((i) => layers[i].field)),
      };
      return {
        ...box, ...sums(box.layers), read: shapes[read],
        boxes: inner === undefined ? [] : boxesOf(inner, box.name, Math.min(...ran)),
      };
    });
  const { about, input } = packed;
  return { name, about, input, layers, ...sums(layers), boxes: boxesOf(packed.drawing, "", 0) };
}

// "0:conv1 4:2" are conv1 and conv2.
function unshortened(text) {
  let before = "";
  return text.split(" ").map((entry) => {
    const at = entry.indexOf(":");
    before = before.slice(0, Number(entry.slice(0, at))) + entry.slice(at + 1);
    return before;
  });
}

// [first, last + 1, ...] -> every number
const spread = (ranges) => (ranges.length ?
  [...range(ranges[0], ranges[1] - 1), ...spread(ranges.slice(2))] : []);

const COSTS = { parameters: "parameters", macs: "multiply-adds", memory: "activations" };
const sums = (layers) => Object.fromEntries(Object.keys(COSTS)
  .map((cost) => [cost, sum(layers.map((layer) => layer[cost]))]));

// Receptive fields are [height, width] or one number for both; 0 is the whole image, -1 unknown.
const sides = (field) => (Array.isArray(field) ? field : [field, field]);
function widest(fields) {
  const [height, width] = [0, 1].map((axis) => {
    const seen = fields.map((field) => sides(field)[axis]);
    return seen.includes(0) ? 0 : Math.max(-1, ...seen);
  });
  return height === width ? height : [height, width];
}

// Where the boxes of a block stand: row by row from its input on, branches in lanes side by side.
function layout(boxes) {
  const rows = [];
  const lanes = [];
  const followed = new Set(); // boxes that another one follows in the same lane
  let count = 0;
  boxes.forEach(({ sources }, i) => {
    rows[i] = 1 + Math.max(...sources.map((j) => (j < 0 ? 0 : rows[j])));
    const before = sources.filter((j) => j >= 0);
    const branches = sources.length === 1 && (followed.has(sources[0]) || (i > 0 && !before.length));
    lanes[i] = branches || !before.length ? count : middle(before.map((j) => lanes[j]));
    if (sources.length === 1) followed.add(sources[0]);
    count = Math.max(count, Math.floor(lanes[i]) + 1);
  });
  // What splits stands in the middle of its branches.
  for (let i = boxes.length - 1; i >= 0; i -= 1) {
    const branches = lanes.filter((_, j) => same(boxes[j].sources, [i]));
    if (branches.length) lanes[i] = middle(branches);
  }
  const heads = lanes.filter((_, j) => boxes[j].sources.includes(INPUT));
  return { rows, lanes, count, input: middle(heads) };
}
const INPUT = -1;
const middle = (values) => (Math.min(...values) + Math.max(...values)) / 2;

// ---- words
const digits = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, ",");
const UNITS = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
const BYTES = [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]];
function short(cost, n) {
  const units = cost === "memory" ? BYTES : UNITS;
  const [size, letters] = units.find(([unit]) => n >= unit) ?? units.at(-1);
  return `${Number((n / size).toPrecision(3))} ${letters}`;
}
const amount = (cost, value) => digits(value) + (cost === "memory" ? " B" : "");
function percent(part, whole) {
  const share = whole ? (100 * part) / whole : 0;
  return `${share && share < 0.1 ? "< 0.1" : Number(share.toFixed(1))} %`;
}
function seen(field) {
  const [height, width] = sides(field);
  return height || width ? `${height || "all"} × ${width || "all"} pixels` : "the whole image";
}

const NOT_RUN = "in training only";
const HINT = "Choose a block with the mouse or the arrow keys; choose it again, or press Enter, " +
  "to step inside, Escape to come back.";
const runs = ({ shape }) => shape.length > 0;
const output = (each) => (runs(each) ? times(each.shape) : NOT_RUN);
const bySide = (sizes) => sizes.join("×"); // where there is little room
const inFull = ({ labels }) => labels.join(" · ");
const called = (box) => box.name || inFull(box);

// Shapes are (C, H, W), (tokens, D) or (C,).
const sizeOf = (shape) => [1, Math.sqrt(shape[0]), Math.max(shape[1], shape[2])][shape.length - 1];
const channels = (shape) => (shape.length === 2 ? shape[1] : shape[0]);
function level({ shape }) {
  if (!shape.length) return NOT_RUN;
  return shape.length === 2 ? `${shape[0]} tokens` : bySide(shape.length === 3 ? shape.slice(1) : [1, 1]);
}

// How a box is coloured, and what the legend calls it.
const ROLES = {
  joint: /^([+−×]|concatenation)$/, pool: /pool|of all|subsampling/i,
  conv: /conv|depthwise/i, linear: /^linear/, other: /^/,
};
const ROLE_WORDS = {
  conv: "convolution", block: "block of several steps", pool: "pooling", linear: "linear layer",
  joint: "where branches meet", other: "other", absent: NOT_RUN,
};
function role(box) {
  if (!runs(box)) return "absent";
  if (box.boxes.length) return "block";
  return Object.keys(ROLES).find((name) => ROLES[name].test(box.labels[0]));
}

// ---- drawings
// Maps as a slab: as high as they are, as thick as they are many, both by the square root.
const TALLEST = 84;
function slab(shape, largest) {
  const height = 5 + (TALLEST - 5) * Math.sqrt(sizeOf(shape) / largest);
  return drawSlabs(height, [{ x: 0, width: 3 + 0.36 * Math.sqrt(channels(shape)) }]);
}

// The channels of the image apart: red, green and blue, if there are three.
function image([count]) {
  const kinds = count === 3 ? ["ce-red", "ce-green", "ce-blue"] : [undefined];
  return drawSlabs(TALLEST, kinds.map((kind, i) => ({ x: 7 * i, width: 3, kind })));
}

function drawSlabs(height, slabs) {
  const [dx, dy] = [0.22 * height, 0.14 * height];
  const face = (kind, ...points) => svg("path", {
    class: kind, d: `M${points.map((point) => point.join(" ")).join("L")}Z`,
  });
  const drawn = slabs.map(({ x, width, kind }) => {
    const right = x + width;
    return svg("g", { class: kind },
      face("ce-top", [x, 0], [x + dx, -dy], [right + dx, -dy], [right, 0]),
      face("ce-side", [right, 0], [right + dx, -dy], [right + dx, height - dy], [right, height]),
      face("ce-front", [x, 0], [right, 0], [right, height], [x, height]));
  });
  const { x, width } = slabs.at(-1);
  const size = [x + width + dx + 2, height + dy + 2];
  return svg("svg", {
    class: "ce-slab", "aria-hidden": "true", width: size[0], height: size[1],
    viewBox: `-1 ${-dy - 1} ${size.join(" ")}`,
  }, ...drawn);
}

// The image, and in it what one unit sees.
function view(field, [, height, width]) {
  const [h, w] = [height, width].map((n, axis) =>
    clamp(sides(field)[axis] || Infinity, n / 24, n));
  return svg("svg", {
    "aria-hidden": "true", viewBox: `0 0 ${width} ${height}`, width: 56, height: (56 * height) / width,
  },
  svg("rect", { class: "ce-image", width, height }),
  svg("rect", { class: "ce-field", width: w, height: h, x: (width - w) / 2, y: (height - h) / 2 }));
}

// The inside of a block, in pixels: where its boxes and what comes in stand, and the edges.
const LANES = [0, 196, 148, 98, 70]; // width of one, by their number
const SPACE = 5; // between lanes
const START = { width: 110, height: 24 }; // of what comes in
const ROW = { height: 58, gap: 20 };
const LOW = { height: 24, gap: 7 }; // in a long row of boxes

function plan(boxes, wide) {
  const { rows, lanes, count, input } = layout(boxes);
  const last = Math.max(...rows);
  const { height, gap } = last > 9 ? LOW : ROW;
  const lane = LANES[Math.min(count, LANES.length - 1)] * (wide ? 1.15 : 1);
  const centre = (at) => (at + 0.5) * (lane + SPACE);
  const places = boxes.map(({ labels }, i) => ({
    row: rows[i], x: centre(lanes[i]), y: START.height + gap + (rows[i] - 1) * (height + gap),
    width: lanes[i] % 1 && labels[0].length > 9 ? Math.max(lane, 104) : lane, height,
  }));
  const start = { row: 0, x: centre(input), y: 0, ...START };
  const edges = boxes.flatMap(({ sources }, to) => sources.map((from) =>
    ({ from, to, ...edge(places[from] ?? start, places[to], places, gap) })));
  const right = Math.max(count * (lane + SPACE), ...edges.map(({ out }) => out + 2));
  return { places, start, edges, low: last > 9, size: [right, START.height + last * (height + gap) + 2] };
}

// Down its own lane and over to the other one at the end, or around what stands between.
function edge(a, b, places, gap) {
  const between = ({ row, x }) => row > a.row && row < b.row && Math.abs(x - a.x) < a.width / 2;
  if (!places.some(between)) {
    const [top, bottom] = [a.y + a.height, b.y];
    return { out: 0, d: `M${a.x} ${top}V${bottom - gap}` +
      `C${a.x} ${bottom - gap / 2} ${b.x} ${bottom - gap / 2} ${b.x} ${bottom}` };
  }
  const [[x, top], [end, bottom]] = [a, b].map((box) => [box.x + box.width / 2, box.y + box.height / 2]);
  const out = Math.max(x, end) + 10 + 13 * Math.sqrt(b.row - a.row);
  return { out, d: `M${x} ${top}C${out} ${top} ${out} ${top} ${out} ${(top + bottom) / 2}` +
    `S${out} ${bottom} ${end} ${bottom}` };
}

// ---- the figure
function mount(root, settings) {
  // path: the block of the flow, the part of it that is open, ...; part: the box chosen in there
  const state = { net: undefined, path: [], part: undefined };

  const at = (path) => path.reduce((box, i) => box.boxes[i], state.net);
  const open = () => at(state.path);
  const chosen = () => (state.part === undefined ? open() : open().boxes[state.part]);

  // ---- changes
  function pick(name) {
    state.net = network(settings, name);
    picker.value = name;
    drawFlow();
    choose([0]);
  }

  function choose(path, part) {
    Object.assign(state, { path, part });
    draw();
  }

  function enter(path) {
    if (!at(path).boxes.length) return;
    choose(path, 0);
    focusOn(inside);
  }

  function leave() {
    const [above, last] = [state.path.slice(0, -1), state.path.at(-1)];
    if (above.length) choose(above, last);
    else choose(state.path);
    focusOn(above.length ? inside : flow);
  }

  function toBlock(i) {
    choose([clamp(i, 0, state.net.boxes.length - 1)]);
    focusOn(flow);
  }

  function toPart(i) {
    choose(state.path, clamp(i, 0, open().boxes.length - 1));
    focusOn(inside);
  }

  // To the nearest part in a direction; from the first one up, out of the block.
  function step(across, down) {
    const { rows, lanes } = layout(open().boxes);
    const distance = (i) => {
      const [x, y] = [lanes[i] - lanes[state.part], rows[i] - rows[state.part]];
      const [along, beside] = across ? [x * across, y] : [y * down, x];
      return along > 0 ? along + 2 * Math.abs(beside) : Infinity;
    };
    const [nearest] = range(0, rows.length - 1).sort((i, j) => distance(i) - distance(j));
    if (distance(nearest) < Infinity) toPart(nearest);
    else if (down < 0) leave();
  }

  const focusOn = (group) => group.querySelector("[aria-current]").focus();
  const move = (by) => () => toBlock(state.path[0] + by);

  // ---- parts
  const picker = select(Object.keys(settings.networks), pick);
  const totals = html("dl", { class: "ce-totals" });
  const about = html("p", { class: "ce-about" });
  const flow = html("div", {
    class: "ce-flow", role: "group",
    keydown: keys({
      ArrowLeft: move(-1), ArrowRight: move(1), Home: move(-Infinity), End: move(Infinity),
      ArrowDown: () => enter(state.path.slice(0, 1)),
    }),
  });
  const legend = html("p", { class: "ce-legend" });
  const trail = part("ce-path");
  const facts = part("ce-facts");
  const inside = html("div", {
    class: "ce-inside", role: "group",
    keydown: keys({
      ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
      ArrowLeft: () => step(-1, 0), ArrowRight: () => step(1, 0),
      Home: () => toPart(0), End: () => toPart(Infinity), Escape: leave,
    }, () => state.part !== undefined),
  });
  const list = part("ce-list");
  const sentence = html("p", { class: "ce-hidden", "aria-live": "polite" });
  root.append(part("ce-bar", labelled("network", picker), totals), about, flow, legend,
    html("p", { class: "ce-legend" }, HINT), trail, part("ce-detail", facts, inside, list), sentence);

  // ---- the flow
  function drawFlow() {
    const { net } = state;
    about.textContent = net.about;
    totals.replaceChildren(...each((cost, name) => html("div", { class: `ce-${cost}` },
      html("dt", {}, name), html("dd", {}, short(cost, net[cost])))));
    const most = Object.fromEntries(each((cost) =>
      [cost, Math.max(1, ...net.boxes.map((box) => box[cost]))]));
    const levels = []; // runs of blocks with maps of one size
    net.boxes.forEach((box, i) => {
      if (levels.at(-1)?.name !== level(box)) levels.push({ name: level(box), nodes: [] });
      levels.at(-1).nodes.push(column(box, i, most));
    });
    const start = { name: bySide(net.input.slice(1)), nodes: [imageColumn()] };
    flow.replaceChildren(...[start, ...levels].map(({ name, nodes }) =>
      html("div", { class: "ce-level", style: `--count: ${nodes.length + (name === NOT_RUN)}` },
        part("ce-size", name), part("ce-row", ...nodes))));
    flow.setAttribute("aria-label", `${net.name} from the image to the scores: ` +
      `${net.boxes.length} blocks. Left and right move, down opens a block.`);
    legend.replaceChildren(...[...new Set(net.boxes.map(role))].map((name) => html("span", {},
      html("i", { class: `ce-swatch ce-of-${name}` }), ROLE_WORDS[name])),
    html("span", {}, "height: size of the maps, thickness: channels, both by the square root"));
  }

  const each = (make) => Object.entries(COSTS).map(([cost, name]) => make(cost, name));
  const inColumn = (maps, count, shares) => [
    html("span", { class: "ce-maps" }, maps), html("span", { class: "ce-channels" }, count),
    html("span", { class: "ce-shares" }, ...shares)];

  const imageColumn = () => html("div", { class: "ce-block ce-of-image" },
    ...inColumn(image(state.net.input), state.net.input[0], each((_, name) => html("span", {}, name))));

  function column(box, i, most) {
    const shares = each((cost) => html("span", {
      class: `ce-${cost}`, style: `--share: ${box[cost] / most[cost]}`,
    }));
    const maps = runs(box) ? slab(box.shape, sizeOf(state.net.input)) : html("i", {});
    return html("button", {
      type: "button", class: `ce-block ce-of-${role(box)}`,
      "aria-label": `${called(box)}, ${inFull(box)}, ${output(box)}`,
      click: () => (same([state.path, state.part], [[i], undefined]) ? enter([i]) : toBlock(i)),
    }, ...inColumn(maps, runs(box) ? channels(box.shape) : "\u00a0", shares));
  }

  // ---- what is chosen
  function draw() {
    flow.querySelectorAll("button").forEach((node, i) => mark(node, i === state.path[0]));
    drawTrail();
    drawFacts();
    drawList();
    drawInside();
    sentence.textContent = inWords(chosen());
  }

  // The current one of a group is also where the tabulator key stops.
  function mark(node, current, stop = current) {
    if (current) node.setAttribute("aria-current", "true");
    else node.removeAttribute("aria-current");
    node.tabIndex = stop ? 0 : -1;
  }

  // The name of a layer or box as the block around it calls it.
  const own = ({ name }, above) => (above && name.startsWith(`${above}.`) ?
    name.slice(above.length + 1) : name);

  function drawTrail() {
    const paths = state.path.map((_, i) => state.path.slice(0, i + 1));
    const boxes = [...paths.map(at), ...(state.part === undefined ? [] : [chosen()])];
    trail.replaceChildren(html("span", {}, state.net.name), ...boxes.map((box, i) => {
      const name = own(box, boxes[i - 1]?.name) || inFull(box);
      if (i === boxes.length - 1) return html("b", {}, name);
      return button(name, () => {
        if (i) choose(paths[i - 1], state.path[i]);
        else choose(paths[0]);
        focusOn(i ? inside : flow);
      });
    }));
  }

  function drawFacts() {
    const [box, { net }] = [chosen(), state];
    const deeper = state.part !== undefined && box.boxes.length;
    facts.replaceChildren(
      part("ce-title", html("b", {}, inFull(box)),
        html("span", {}, runs(box) ? `${incoming(box)} → ${output(box)}` : NOT_RUN),
        ...(deeper ? [button(`Open its ${deeper} parts`, () => enter([...state.path, state.part]))] : [])),
      html("dl", {}, ...each((cost, name) => [
        html("dt", {}, name), html("dd", { class: "ce-value" }, amount(cost, box[cost])),
        html("dd", { class: `ce-share ce-${cost}`, style: `--share: ${box[cost] / (net[cost] || 1)}` },
          html("span", {}), percent(box[cost], net[cost])),
      ]).flat()),
      ...(sees(box) ? [part("ce-sees", view(box.field, net.input),
        html("span", {}, "one unit sees ", html("b", {}, seen(box.field))))] : []));
  }

  const sees = (each) => runs(each) && each.field !== -1;

  // The shapes that come into a block or a box.
  const readBy = (path) => (path.length ? at(path).read : state.net.input);
  function incoming(box) {
    if (box.read) return times(box.read);
    const above = state.part === undefined ? [] : state.path;
    const shapes = box.sources.map((i) => (i === INPUT ? readBy(above) : at(above).boxes[i].shape));
    return [...new Set(shapes.map(times))].join(" and ");
  }

  function inWords(box) {
    const costs = each((cost, name) => `${amount(cost, box[cost])} ` +
      `${cost === "memory" ? "of " : ""}${name} (${percent(box[cost], state.net[cost])})`);
    return [`${called(box)}: ${inFull(box)}`, runs(box) ? `output ${output(box)}` : NOT_RUN, ...costs,
      ...(sees(box) ? [`one unit sees ${seen(box.field)}`] : [])].join(", ") + ".";
  }

  const HEAD = ["layer", "is", "output", "parameters", "multiply-adds", "bytes", "sees"];
  function drawList() {
    const field = (layer) => (sees(layer) ? seen(layer.field).split(" pixels")[0] : "");
    const cells = (layer) => [own(layer, open().name), layer.what, output(layer),
      digits(layer.parameters), digits(layer.macs), digits(layer.memory), field(layer)];
    list.replaceChildren(html("div", {
      class: "ce-scroll", tabindex: "0", role: "region", "aria-label": `Layers of ${called(chosen())}`,
    }, html("table", {},
      html("thead", {}, html("tr", {}, ...HEAD.map((text) => html("th", { scope: "col" }, text)))),
      html("tbody", {}, ...chosen().layers.map((layer) => html("tr", {},
        ...cells(layer).map((text) => html("td", {}, text))))))));
  }

  // ---- the inside of a block
  function drawInside() {
    const { name, boxes } = open();
    inside.hidden = !boxes.length;
    if (!boxes.length) return inside.replaceChildren();
    const { places, start, edges, low, size } = plan(boxes, root.clientWidth > 640);
    const isNear = ({ from, to }) => [from, to].includes(state.part);
    const lines = edges.sort((a, b) => isNear(a) - isNear(b)).map((line) =>
      svg("path", { d: line.d, class: isNear(line) ? "ce-near" : undefined }));
    const nodes = boxes.map((box, i) => {
      const title = low && box.boxes.length ? own(box, name) : box.labels[0];
      const node = html("button", {
        type: "button", class: `ce-part ce-of-${role(box)}`, style: placed(places[i]),
        click: () => (state.part === i && box.boxes.length ? enter([...state.path, i]) : toPart(i)),
      }, html("b", {}, title), html("span", {}, box.labels.slice(1).join(" · ")),
      html("span", {}, bySide(box.shape)));
      mark(node, i === state.part, i === (state.part ?? 0));
      return node;
    });
    inside.setAttribute("aria-label", `Inside ${name}: ${boxes.length} parts. Arrow keys move, ` +
      "Enter opens a part, Escape leaves.");
    inside.classList.toggle("ce-low", low);
    inside.replaceChildren(html("div", { class: "ce-graph", style: `width: ${size[0]}px; height: ${size[1]}px` },
      svg("svg", { class: "ce-edges", "aria-hidden": "true", width: size[0], height: size[1] }, ...lines),
      html("div", { class: "ce-input", style: placed(start) }, bySide(readBy(state.path))), ...nodes));
  }

  const placed = ({ x, y, width, height }) =>
    `left: ${x - width / 2}px; top: ${y}px; width: ${width}px; height: ${height}px`;

  pick(settings.model);
}

define("architecture", { network, layout }, mount);
