"use strict";
// The explorer of one atlas. The GPU keeps all points; the progress slider and hidden levels only move a filter's range.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const SHOWN_RUNS = 40, SHOWN_SAMPLES = 12;

const unpack = (text, Kind) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Kind(bytes.buffer);
};
const columnsOf = (packed, Kind, n) => packed.low.map((low, k) => {
  const whole = unpack(packed.values, Kind).subarray(k * n, (k + 1) * n);
  const step = (packed.high[k] - low) / (Kind === Uint8Array ? 255 : 65535);
  return Float32Array.from(whole, (v) => low + v * step);
});

const run = unpack(data.points.run, Uint32Array), step = unpack(data.points.step, Int32Array);
const epoch = unpack(data.points.epoch, Float32Array), viridis = unpack(data.viridis, Uint8Array);
const factors = data.factors.map((f) => ({ ...f, codes: f.codes && unpack(f.codes, Uint16Array), values: f.values && unpack(f.values, Float32Array) }));
const splits = Object.fromEntries(Object.entries(data.splits).map(([name, s]) => [name, {
  ...s, progress: unpack(s.progress, Float32Array), loss: unpack(s.loss, Float32Array), error: unpack(s.error, Float32Array),
  worlds: Object.fromEntries(["real", "null"].filter((w) => s[w]).map((w) => [w, {
    index: unpack(s[w].index, Uint32Array), n: s[w].n, columns: columnsOf(s[w].coordinates, Uint16Array, s[w].n + s[w].n_road) }])),
  probability: unpack(s.samples.probability, Uint8Array),
}]));
const state = { split: Object.keys(splits)[0], world: "real", view: "3", axes: [0, 1, 2], colour: 0, reached: 1, size: 2, lines: false, hidden: new Set(), brushed: null };

// -- what is drawn ---------------------------------------------------------------------------------------------------

const now = () => splits[state.split];
const world = () => now().worlds[state.world] || now().worlds.real;
const VALUES = [["progress", "progress"], ["loss", "loss (nats)"], ["error", "error"]];
const colourings = () => [...factors.map((f) => ({ label: f.label, factor: f })), ...VALUES.map(([key, label]) => ({ label, key }))];

function valuesOf(choice) {
  return choice.key ? now()[choice.key] : Float32Array.from(run, (r) => choice.factor.values[r]);
}

function rangeOf(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) if (Number.isFinite(v)) { if (v < low) low = v; if (v > high) high = v; }
  return [low, high];
}

function colours() {
  const { index, n } = world(), choice = colourings()[state.colour], found = new Uint8Array(4 * n);
  const levels = choice.factor && choice.factor.levels, values = levels ? null : valuesOf(choice);
  const [low, high] = values ? rangeOf(values) : [0, 1];
  for (let i = 0; i < n; i++) {
    const p = index[i];
    const shade = levels ? 0 : 3 * Math.round(255 * Math.min(1, Math.max(0, (values[p] - low) / (high - low || 1))));
    const rgb = levels ? choice.factor.colours[choice.factor.codes[run[p]]] : Number.isFinite(values[p]) ? viridis.subarray(shade, shade + 3) : [153, 153, 153];
    found.set(rgb, 4 * i);
    found[4 * i + 3] = state.brushed && !state.brushed.points.has(p) ? 28 : 200;
  }
  return found;
}

function geometry() {
  const { index, n, columns } = world(), total = columns[0].length, [x, y, z] = state.axes, all = new Float32Array(3 * total);
  for (let i = 0; i < total; i++) {
    all[3 * i] = columns[x][i]; all[3 * i + 1] = columns[y][i];
    all[3 * i + 2] = state.view === "3" ? columns[z][i] : 0;
  }
  const choice = colourings()[state.colour], filter = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) {
    const p = index[i];
    filter[2 * i] = now().progress[p];
    filter[2 * i + 1] = choice.factor && choice.factor.levels && state.hidden.has(choice.factor.codes[run[p]]) ? 1 : 0;
  }
  return { positions: all.subarray(0, 3 * n), road: all.subarray(3 * n), filter, n };
}

function segments(g, rgba) {
  const { index } = world(), kept = [];
  for (let i = 1; i < g.n; i++) if (run[index[i]] === run[index[i - 1]]) kept.push(i);
  const from = new Float32Array(3 * kept.length), to = new Float32Array(3 * kept.length);
  const filter = new Float32Array(2 * kept.length), colour = new Uint8Array(4 * kept.length);
  kept.forEach((i, k) => {
    from.set(g.positions.subarray(3 * i - 3, 3 * i), 3 * k); to.set(g.positions.subarray(3 * i, 3 * i + 3), 3 * k);
    filter.set(g.filter.subarray(2 * i, 2 * i + 2), 2 * k); colour.set(rgba.subarray(4 * i, 4 * i + 4), 4 * k);
    colour[4 * k + 3] = Math.round(colour[4 * k + 3] / 2);
  });
  return { n: kept.length, from, to, filter, colour };
}

let cache = {};
function rebuild() {
  const g = geometry(), rgba = colours();
  cache = { g, points: { length: g.n, attributes: {
    getPosition: { value: g.positions, size: 3 }, getFillColor: { value: rgba, size: 4 }, getFilterValue: { value: g.filter, size: 2 } } } };
  if (state.lines) {
    const s = segments(g, rgba);
    cache.lines = { length: s.n, attributes: { getSourcePosition: { value: s.from, size: 3 }, getTargetPosition: { value: s.to, size: 3 },
      getColor: { value: s.colour, size: 4 }, getFilterValue: { value: s.filter, size: 2 } } };
  }
  draw();
}

const dark = matchMedia("(prefers-color-scheme: dark)");
function layers() {
  const ink = dark.matches ? [230, 233, 236] : [0, 0, 0], road = [];
  for (let i = 0; i < cache.g.road.length; i += 3) road.push(Array.from(cache.g.road.subarray(i, i + 3)));
  const filtered = { extensions: [new deck.DataFilterExtension({ filterSize: 2 })], filterRange: [[-1, state.reached + 1e-6], [-0.5, 0.5]] };
  const ends = [{ at: road[0], name: "■ ignorance" }, { at: road[road.length - 1], name: "★ truth" }];
  const { corner, spans } = extent(), grey = dark.matches ? [110, 120, 130] : [150, 158, 166];
  const edges = spans.slice(0, Number(state.view)).map((span, k) => ({ from: corner, to: corner.map((v, j) => v + (j === k ? span : 0)), name: `InPC ${state.axes[k] + 1}` }));
  return [
    cache.lines && state.lines && new deck.LineLayer({ id: "lines", data: cache.lines, getWidth: 1, ...filtered }),
    new deck.ScatterplotLayer({ id: "points", data: cache.points, radiusUnits: "pixels", getRadius: state.size, billboard: true, pickable: true, ...filtered }),
    new deck.LineLayer({ id: "edges", data: edges, getSourcePosition: (d) => d.from, getTargetPosition: (d) => d.to, getColor: grey, getWidth: 1 }),
    new deck.TextLayer({ id: "names", data: edges, getPosition: (d) => d.to, getText: (d) => d.name, getColor: grey, getSize: 12, fontFamily: "system-ui, sans-serif" }),
    new deck.PathLayer({ id: "road", data: [road], getPath: (d) => d, getColor: ink, getWidth: 3, widthUnits: "pixels", billboard: true }),
    new deck.TextLayer({ id: "ends", data: ends, getPosition: (d) => d.at, getText: (d) => d.name, getColor: ink, getSize: 14,
      getTextAnchor: "start", characterSet: "auto", fontFamily: "system-ui, sans-serif", parameters: { depthCompare: "always" } }),
  ];
}

function draw() { scene.setProps({ layers: layers() }); }

// -- the camera ------------------------------------------------------------------------------------------------------

function extent() {
  const box = state.axes.map((k) => rangeOf(world().columns[k])), flat = state.view === "2";
  return { corner: box.map(([low], k) => (k === 2 && flat ? 0 : low)), spans: box.map(([low, high], k) => (k === 2 && flat ? 0 : high - low)) };
}

function camera() {
  const { corner, spans } = extent(), target = corner.map((v, k) => v + spans[k] / 2);
  const zoom = Math.log2(Math.min(0.7 * $("stage").clientWidth, 0.85 * $("stage").clientHeight) / (Math.hypot(...spans.slice(0, Number(state.view))) || 1));
  return { target, zoom, minZoom: zoom - 3, maxZoom: zoom + 8, rotationX: 25, rotationOrbit: -30 };
}

function aim() {
  const View = state.view === "3" ? deck.OrbitView : deck.OrthographicView;
  scene.setProps({ views: new View({ id: `view-${state.view}`, controller: true, ...(state.view === "3" ? { orbitAxis: "Z" } : { flipY: false }) }), initialViewState: camera() });
}

const scene = new deck.Deck({
  parent: $("scene"), controller: true, layers: [], useDevicePixels: Math.min(2, devicePixelRatio),
  views: new deck.OrbitView({ id: "view-3", orbitAxis: "Z", controller: true }), initialViewState: camera(),
  parameters: { depthCompare: "less-equal" }, onHover: hover,
});

function hover({ index: i, x, y, layer }) {
  const tip = $("tip"), over = layer && layer.id === "points" && i >= 0;
  tip.style.display = over ? "block" : "none";
  if (!over) return;
  const p = world().index[i], s = now();
  tip.textContent = `${data.runs[run[p]]}\nstep ${step[p]}, epoch ${epoch[p].toPrecision(3)}\nloss ${s.loss[p].toPrecision(3)} nats, error ${s.error[p].toFixed(3)}, progress ${s.progress[p].toFixed(2)}`;
  tip.style.left = `${Math.min(x + 12, $("stage").clientWidth - 220)}px`; tip.style.top = `${y + 12}px`;
}

// -- brushing --------------------------------------------------------------------------------------------------------

function pointsInside(x0, y0, x1, y1) {
  const { index } = world(), viewport = scene.getViewports()[0], found = [], { positions, filter } = cache.g;
  for (let i = 0; i < index.length; i++) {
    if (filter[2 * i] > state.reached + 1e-6 || filter[2 * i + 1] > 0.5) continue;
    const [x, y] = viewport.project([positions[3 * i], positions[3 * i + 1], positions[3 * i + 2]]);
    if (x >= x0 && x <= x1 && y >= y0 && y <= y1) found.push(index[i]);
  }
  return found;
}

function brush(points) {
  state.brushed = points.length ? { points: new Set(points), runs: [...new Set(points.map((p) => run[p]))].sort((a, b) => a - b) } : null;
  describe();
  rebuild();
}

let corner = null;
const place = (e) => { const box = $("stage").getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; };
$("brush").onpointerdown = (e) => { corner = place(e); $("brush").setPointerCapture(e.pointerId); };
$("brush").onpointermove = (e) => {
  if (!corner) return;
  const [x, y] = place(e);
  Object.assign($("box").style, { display: "block", left: `${Math.min(x, corner[0])}px`, top: `${Math.min(y, corner[1])}px`, width: `${Math.abs(x - corner[0])}px`, height: `${Math.abs(y - corner[1])}px` });
};
$("brush").onpointerup = (e) => {
  const [x, y] = place(e), [a, b] = corner;
  corner = null; $("box").style.display = "none";
  brush(pointsInside(Math.min(x, a), Math.min(y, b), Math.max(x, a), Math.max(y, b)));
};

// -- what is said of brushed points ----------------------------------------------------------------------------------

const node = (tag, text, attributes = {}) => Object.assign(document.createElement(tag), { textContent: text }, attributes);
const levelOf = (f, r) => (f.levels ? f.levels[f.codes[r]] : String(f.values[r]));

function describe() {
  for (const id of ["runs", "curves", "samples"]) $(id).replaceChildren();
  if (!state.brushed) { $("summary").textContent = "Nothing is brushed."; return; }
  const { points, runs } = state.brushed;
  $("summary").textContent = `${points.size} points of ${runs.length} of ${data.runs.length} runs.`;
  const table = node("table", ""), head = node("tr", "");
  head.append(...[...factors.map((f) => f.label), "run"].map((t) => node("th", t)));
  table.append(head, ...runs.slice(0, SHOWN_RUNS).map((r) => {
    const row = node("tr", "");
    row.append(...factors.map((f) => node("td", levelOf(f, r))), node("td", data.runs[r]));
    return row;
  }));
  $("runs").append(table);
  if (runs.length > SHOWN_RUNS) $("runs").append(node("p", `and ${runs.length - SHOWN_RUNS} more`));
  curves(runs);
  differences(runs);
}

function curves(runs) {
  const width = 320, height = 130, s = now(), chosen = new Set(runs.slice(0, SHOWN_RUNS)), lines = new Map();
  let top = 0, last = 0;
  for (let p = 0; p < run.length; p++) if (chosen.has(run[p]) && epoch[p] >= 0) { top = Math.max(top, s.loss[p]); last = Math.max(last, epoch[p]); }
  const X = (e) => 34 + ((width - 40) * Math.log1p(e)) / (Math.log1p(last) || 1), Y = (v) => 8 + (height - 30) * (1 - v / (top || 1));
  for (let p = 0; p < run.length; p++) {
    if (!chosen.has(run[p]) || epoch[p] < 0) continue;
    if (!lines.has(run[p])) lines.set(run[p], []);
    lines.get(run[p]).push(`${X(epoch[p]).toFixed(1)},${Y(s.loss[p]).toFixed(1)}`);
  }
  const family = factors[0], shade = (r) => (family.levels ? `rgb(${family.colours[family.codes[r]]})` : "var(--mark)");
  const paths = [...lines].map(([r, xy]) => `<polyline points="${xy.join(" ")}" fill="none" stroke="${shade(r)}" stroke-width="1" opacity=".8"/>`);
  const label = `Loss of the brushed runs against epochs on a logarithmic axis, up to ${top.toPrecision(3)} nats`;
  $("curves").innerHTML = `<svg role="img" aria-label="${label}" viewBox="0 0 ${width} ${height}" width="100%">${paths.join("")}
    <line x1="34" y1="${Y(0)}" x2="${width}" y2="${Y(0)}" stroke="var(--soft)"/><text x="0" y="14">${top.toPrecision(2)}</text><text x="0" y="${Y(0)}">0</text>
    <text x="34" y="${height - 6}">${state.split} loss (nats) against epochs, 0 to ${last.toPrecision(3)}</text></svg>`;
}

function differences(runs) {
  const { samples, probability } = now(), n = samples.n, inside = new Set(runs), nOut = data.runs.length - runs.length;
  const sums = [new Float64Array(n), new Float64Array(n)], squares = new Float64Array(n);
  for (let r = 0; r < data.runs.length; r++) for (let i = 0; i < n; i++) {
    const v = probability[r * n + i] / 255;
    sums[inside.has(r) ? 0 : 1][i] += v;
    if (inside.has(r)) squares[i] += v * v;
  }
  const mean = Array.from(sums[0], (v) => v / runs.length), others = Array.from(sums[1], (v) => v / nOut);
  const score = (i) => (nOut ? Math.abs(mean[i] - others[i]) : squares[i] / runs.length - mean[i] ** 2);
  const order = mean.map((_, i) => i).sort((a, b) => score(b) - score(a)).slice(0, SHOWN_SAMPLES);
  const what = nOut ? "probability of the true class at the end of training: brushed runs, then all others" : "all runs are brushed: samples on which they differ most among themselves, mean probability of the true class";
  $("samples").append(node("p", what, { style: "grid-column: 1 / -1" }), ...order.map((i) => {
    const card = node("div", "");
    if (samples.sprite) card.append(picture(samples, i));
    card.append(node("div", `sample ${samples.number[i]}, class ${samples.label[i]}`), node("b", mean[i].toFixed(2)), node("span", nOut ? ` / ${others[i].toFixed(2)}` : ""));
    return card;
  }));
}

const sheets = {};
function picture(samples, i) {
  const canvas = node("canvas", "", { width: samples.width, height: samples.height, ariaLabel: `sample ${samples.number[i]}` });
  const sheet = (sheets[state.split] ||= Object.assign(new Image(), { src: `data:image/png;base64,${samples.sprite}` }));
  const paint = () => canvas.getContext("2d").drawImage(sheet, (i % samples.columns) * samples.width, Math.floor(i / samples.columns) * samples.height,
    samples.width, samples.height, 0, 0, samples.width, samples.height);
  sheet.complete ? paint() : sheet.addEventListener("load", paint);
  return canvas;
}

// -- controls --------------------------------------------------------------------------------------------------------

function legend() {
  const choice = colourings()[state.colour], levels = choice.factor && choice.factor.levels;
  $("legend-title").textContent = choice.label;
  if (!levels) {
    const [low, high] = rangeOf(valuesOf(choice)), ends = node("div", "", { className: "ends" }), scale = node("div", "", { id: "scale" });
    const stops = Array.from({ length: 9 }, (_, k) => `rgb(${viridis.subarray(3 * Math.round(31.875 * k), 3 * Math.round(31.875 * k) + 3)})`);
    scale.style.background = `linear-gradient(to right, ${stops})`;
    ends.append(node("span", low.toPrecision(3)), node("span", high.toPrecision(3)));
    return $("legend").replaceChildren(scale, ends);
  }
  $("legend").replaceChildren(...levels.map((level, code) => {
    const button = node("button", "", { className: state.hidden.has(code) ? "off" : "", title: "show or hide" });
    const swatch = node("span", "", { className: "swatch" });
    swatch.style.background = `rgb(${choice.factor.colours[code]})`;
    button.append(swatch, level);
    button.onclick = () => { state.hidden.has(code) ? state.hidden.delete(code) : state.hidden.add(code); legend(); rebuild(); };
    return button;
  }));
}

function fill(id, entries, value) {
  $(id).replaceChildren(...entries.map(([key, label]) => node("option", label, { value: key })));
  $(id).value = value;
}

function controls() {
  const axes = now().axes.map((label, k) => [k, label]);
  state.axes = state.axes.map((k) => Math.min(k, axes.length - 1));
  ["x", "y", "z"].forEach((id, k) => fill(id, axes, state.axes[k]));
  $("z").hidden = state.view === "2";
  fill("world", [["real", "as it is"], ...(now().worlds.null ? [["null", "null: samples shuffled within classes"]] : [])], state.world);
  $("labels").textContent = state.world === "null" ? `null world: ${world().n} points, embedded by themselves` : now().axes.filter((_, k) => state.axes.slice(0, Number(state.view)).includes(k)).join("   ");
  $("counts").textContent = `${world().n.toLocaleString("en")} points of ${data.runs.length} runs, ${state.split} predictions`;
}

function change(fields, { moved = true } = {}) {
  Object.assign(state, fields);
  if (state.world === "null" && !now().worlds.null) state.world = "real";
  controls(); legend(); rebuild();
  if (moved) aim();
}

fill("split", Object.keys(splits).map((s) => [s, s]), state.split);
fill("colour", colourings().map((c, k) => [k, c.label]), state.colour);
$("split").onchange = (e) => { change({ split: e.target.value }); describe(); };
$("world").onchange = (e) => change({ world: e.target.value });
$("view").onchange = (e) => change({ view: e.target.value });
["x", "y", "z"].forEach((id, k) => { $(id).onchange = (e) => change({ axes: state.axes.map((a, j) => (j === k ? Number(e.target.value) : a)) }); });
$("colour").onchange = (e) => change({ colour: Number(e.target.value), hidden: new Set() }, { moved: false });
$("size").oninput = (e) => { state.size = Number(e.target.value); draw(); };
$("lines").onchange = (e) => change({ lines: e.target.checked }, { moved: false });
function reach(s) { state.reached = s; $("progress").value = s; $("reached").textContent = s.toFixed(2); draw(); }
$("progress").oninput = (e) => reach(Number(e.target.value));
let playing = null;
$("play").onclick = () => {
  if (playing) { cancelAnimationFrame(playing); playing = null; $("play").textContent = "▶"; return; }
  const started = performance.now(), from = state.reached >= 1 ? 0 : state.reached;
  $("play").textContent = "■";
  const frame = (t) => {
    reach(Math.min(1, from + Math.max(0, t - started) / 8000));
    playing = state.reached < 1 ? requestAnimationFrame(frame) : (($("play").textContent = "▶"), null);
  };
  playing = requestAnimationFrame(frame);
};
$("select").onclick = (e) => { const on = $("brush").classList.toggle("on"); e.target.setAttribute("aria-pressed", on); };
$("clear").onclick = () => brush([]);
dark.onchange = draw;
change({});
window.explorer = { state, scene, brush, pointsInside, reach, change };
