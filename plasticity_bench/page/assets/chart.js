// @ts-check
// The learning curves: uPlot draws them; the legend below has the names and the values at the cursor.

/** @type {Record<string, string>} */
const QUANTITIES = {
  performance: 'performance', plasticity_loss: 'plasticity loss', dormant_fraction: 'dormant fraction',
  effective_rank: 'effective rank', weight_norm: 'weight norm',
};
const SLOTS = 8;
const DASHES = [[], [8, 4], [2, 3]];
/** @type {uPlot | null} */
let plot = null;
/** @type {{ label: string, curve: Known[][] | null }[]} */
let drawn = [];

/**
 * Of the default row, and of the tuned one.
 * @type {Record<string, number[][]>}
 */
const REFERENCE_DASHES = { none: [[], [10, 3]], reset: [[6, 4], [2, 4]] };

/** @param {string} label */
function baseOf(label) {
  return DATA.methods.find((method) => method.label === label)?.base ?? label;
}

/** @param {string} label */
function isReference(label) {
  return baseOf(label) in REFERENCE_DASHES;
}

/**
 * A method keeps its colour while it is shown; afterwards the colour is free for another method.
 * @param {string} label
 */
function colour(label) {
  if (isReference(label)) return `--series-${baseOf(label)}`;
  return `--series-${(state.chosen.get(label) ?? 0) % SLOTS}`;
}

/** @param {string} label */
function dash(label) {
  if (isReference(label)) return REFERENCE_DASHES[baseOf(label)][Number(label !== baseOf(label))];
  return DASHES[Math.floor((state.chosen.get(label) ?? 0) / SLOTS) % DASHES.length];
}

/**
 * A colour for the canvas: the value of a style variable in the present theme.
 * @param {string} variable
 */
function resolved(variable, alpha = 1) {
  const probe = el('span');
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return alpha === 1 ? value : value.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
}

/**
 * [mean, low, high] in the quantity's own units.
 * @param {Grid} grid
 * @param {string[]} curve
 */
function decoded(grid, curve) {
  const [mean, below, above] = curve.map(unpacked);
  const value = (/** @type {number} */ whole) => grid.low + grid.step * whole;
  /** @type {(side: Known[], sign: number) => Known[]} */
  const bound = (side, sign) => mean.map((m, i) => {
    const distance = side[i];
    return m === null || distance === null ? null : value(m + sign * distance);
  });
  return [mean.map((m) => (m === null ? null : value(m))), bound(below, -1), bound(above, 1)];
}

function drawChart() {
  const stream = DATA.streams[state.chartStream];
  plot?.destroy();
  plot = null;
  if (!stream) return;
  const grid = stream.grids[state.quantity] ?? stream.grids.performance;
  const { series, bands, data } = seriesOf(stream, grid);
  const box = byId('chart');
  const axis = {
    stroke: resolved('--muted'), grid: { stroke: resolved('--line'), width: 1 }, ticks: { show: false },
    font: '12px system-ui, sans-serif',
  };
  plot = new uPlot(
    {
      width: box.clientWidth,
      height: box.clientHeight || 336,
      scales: { x: { time: false } },
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false } },
      axes: [
        { ...axis, label: 'task', labelSize: 20, labelFont: axis.font, size: 32 },
        { ...axis, size: axisSize },
      ],
      series,
      bands,
      hooks: { setCursor: [(/** @type {uPlot} */ u) => showValues(u.cursor.idx ?? null)] },
    },
    data,
    box,
  );
  showValues(null);
  describeChart(stream, grid);
}

/**
 * Room for the longest label of the vertical axis.
 * @param {uPlot} u
 * @param {string[] | null} ticks
 */
function axisSize(u, ticks) {
  return 14 + 7 * Math.max(3, ...(ticks ?? []).map((text) => text.length));
}

/**
 * What uPlot draws of the chosen methods; notes in `drawn` what the legend shows.
 * @param {Stream} stream
 * @param {Grid} grid
 */
function seriesOf(stream, grid) {
  const performance = state.quantity === 'performance';
  /** @type {object[]} */
  const series = [{ label: 'task' }];
  /** @type {object[]} */
  const bands = [];
  /** @type {Known[][]} */
  const data = [grid.tasks];
  drawn = [];
  for (const label of state.chosen.keys()) {
    const place = stream.rows.findIndex((row) => DATA.methods[row.method].label === label);
    const curve = place < 0 ? null : grid.curves[place];
    if (!curve) {
      drawn.push({ label, curve: null });
      continue;
    }
    const [mean, low, high] = decoded(grid, curve);
    const stroke = resolved(colour(label));
    const common = { spanGaps: !performance };
    const none = { stroke: 'transparent', width: 0, points: { show: false }, ...common };
    const at = data.length;
    data.push(mean, low, high);
    series.push(
      { label, stroke, width: 2, dash: dash(label), points: { show: mean.length < 2 }, ...common },
      { label: `${label} low`, ...none },
      { label: `${label} high`, ...none },
    );
    bands.push({ series: [at + 2, at + 1], fill: resolved(colour(label), 0.14) });
    drawn.push({ label, curve: [mean, low, high] });
  }
  const values = /** @type {number[]} */ (data.slice(1).flat().filter((value) => value !== null));
  const { chance } = stream;
  if (performance && chance >= Math.min(...values) && chance <= Math.max(...values)) {
    data.push(grid.tasks.map(() => chance));
    const points = { show: false };
    series.push({ label: 'chance', stroke: resolved('--edge'), width: 1, dash: [2, 3], points });
  }
  return { series, bands, data };
}

/**
 * @param {Stream} stream
 * @param {Grid} grid
 */
function describeChart(stream, grid) {
  const smoothed = grid.width > 1 ? `, averaged over ${grid.width} tasks` : '';
  const performance = ` (${stream.unit}, dotted: chance ${number(stream.chance)})`;
  const unit = state.quantity === 'performance' ? performance : '';
  const what = state.quantity === 'plasticity_loss'
    ? '1 - learner over fresh twin at each task, summed over seeds' : 'mean over seeds';
  byId('chart-about').textContent =
    `${QUANTITIES[state.quantity]}${unit}: ${what}, and its 95% interval${smoothed}. ` +
    'Drag to zoom, double-click to go back; arrow keys move the cursor.';
}

/**
 * The values at a point of the curves; without one, at the last point.
 * @param {number | null} index
 */
function showValues(index) {
  const stream = DATA.streams[state.chartStream];
  const grid = stream.grids[state.quantity];
  const at = index ?? grid.tasks.length - 1;
  const task = `task ${Math.round(grid.tasks[at])} of ${stream.tasks}`;
  byId('at').textContent = index === null ? `${task}; point at the chart for others` : task;
  const texts = drawn.map(({ curve }) => (curve ? valuesAt(curve, at) : 'not measured here'));
  byId('legend').querySelectorAll('li .value').forEach((value, i) => {
    value.textContent = texts[i];
  });
  const box = byId('chart');
  box.setAttribute('aria-valuemin', '0');
  box.setAttribute('aria-valuemax', String(grid.tasks.length - 1));
  box.setAttribute('aria-valuenow', String(at));
  const spoken = drawn.map(({ label }, i) => `${label} ${texts[i]}`).join(', ');
  box.setAttribute('aria-valuetext', `${task}: ${spoken}`);
}

/**
 * @param {Known[][]} curve
 * @param {number} at
 */
function valuesAt([mean, low, high], at) {
  return interval([mean[at] ?? null, low[at] ?? null, high[at] ?? null]);
}

function drawLegend() {
  const stream = DATA.streams[state.chartStream];
  const here = new Set(stream?.rows.map((row) => DATA.methods[row.method].label));
  const items = [...state.chosen.keys()].map((label) => legendItem(label, here.has(label)));
  byId('legend').replaceChildren(...items);
  const others = DATA.methods.filter(({ label }) => here.has(label) && !state.chosen.has(label));
  byId('add').replaceChildren(
    el('option', { value: '' }, 'Add a method\u2026'),
    ...others.map((method) => el('option', { value: method.label }, method.label)),
  );
}

/**
 * @param {string} label
 * @param {boolean} present
 */
function legendItem(label, present) {
  const stroke = { 'stroke-width': 2.5, 'stroke-dasharray': dash(label).join(' ') || 'none' };
  const sample = svg('line', { x1: 1, x2: 27, y1: 6, y2: 6, ...stroke });
  sample.style.stroke = `var(${colour(label)})`;
  const remove = {
    type: 'button', 'aria-label': `Take ${label} out of the chart`, click: () => choose(label, false),
  };
  return el(
    'li',
    { class: present ? false : 'absent', 'data-label': label },
    svg('svg', { viewBox: '0 0 28 12', 'aria-hidden': 'true' }, sample),
    el('a', { href: hashOf(label) }, label),
    el('span', { class: 'value' }),
    el('button', remove, '\u00d7'),
  );
}

function drawQuantities() {
  const stream = DATA.streams[state.chartStream];
  if (stream && !stream.grids[state.quantity]) state.quantity = 'performance';
  for (const input of byId('quantity').querySelectorAll('input')) {
    input.disabled = !stream?.grids[input.value];
    input.checked = input.value === state.quantity;
  }
}

function drawCurves() {
  drawQuantities();
  control('chart-stream').value = String(state.chartStream);
  drawLegend();
  drawChart();
}

/** @param {KeyboardEvent} event */
function moveCursor(event) {
  if (!plot) return;
  const last = plot.data[0].length - 1;
  const now = plot.cursor.idx ?? last;
  /** @type {Record<string, number>} */
  const steps = {
    ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1,
    PageDown: -10, PageUp: 10, Home: -last, End: last,
  };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const next = Math.min(Math.max(now + steps[event.key], 0), last);
  plot.setCursor({ left: plot.valToPos(Number(plot.data[0][next]), 'x'), top: plot.over.clientHeight / 2 });
}

function startChart() {
  const quantities = Object.entries(QUANTITIES).map(([name, title]) => {
    const change = () => { state.quantity = name; drawCurves(); };
    const input = el('input', { type: 'radio', name: 'quantity', value: name, change });
    return el('label', {}, input, el('span', {}, title));
  });
  byId('quantity').append(...quantities);
  byId('chart-stream').append(...DATA.streams.map((stream, i) => el('option', { value: i }, stream.name)));
  control('chart-stream').addEventListener('change', () => {
    state.chartStream = Number(control('chart-stream').value);
    drawCurves();
  });
  const add = control('add');
  add.addEventListener('change', () => add.value && choose(add.value, true));
  byId('default-methods').addEventListener('click', () => { chooseDefaults(); render(); });
  byId('chart').addEventListener('keydown', moveCursor);
  const resize = () => plot?.setSize({ width: byId('chart').clientWidth, height: plot.height });
  new ResizeObserver(resize).observe(byId('chart'));
}
