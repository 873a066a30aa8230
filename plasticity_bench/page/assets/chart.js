// The learning curves: uPlot draws them, the legend below holds names and the values under the cursor.

const QUANTITIES = { performance: 'performance', dormant_fraction: 'dormant fraction', effective_rank: 'effective rank', weight_norm: 'weight norm' };
const SLOTS = 8;
const DASHES = [[], [8, 4], [2, 3]];
let plot = null;
let drawn = [];

// Of the default, and of the tuned row beside it.
const REFERENCE_DASHES = { none: [[], [10, 3]], reset: [[6, 4], [2, 4]] };

function baseOf(label) {
  return DATA.methods.find((method) => method.label === label)?.base ?? label;
}

function isReference(label) {
  return baseOf(label) in REFERENCE_DASHES;
}

// Colours go by place: a method keeps its place while it is shown, and the place is free again after.
function colour(label) {
  if (isReference(label)) return `--series-${baseOf(label)}`;
  return `--series-${(state.chosen.get(label) ?? 0) % SLOTS}`;
}

function dash(label) {
  if (isReference(label)) return REFERENCE_DASHES[baseOf(label)][Number(label !== baseOf(label))];
  return DASHES[Math.floor((state.chosen.get(label) ?? 0) / SLOTS) % DASHES.length];
}

// What a canvas can use: the colour that a style variable stands for in the present theme.
function resolved(variable, alpha = 1) {
  const probe = el('span');
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return alpha === 1 ? value : value.replace(/^rgb\((.*)\)$/, `rgba($1, ${alpha})`);
}

// [mean, low, high] in the quantity's own units.
function decoded(grid, curve) {
  const [mean, below, above] = curve.map(unpacked);
  const value = (whole) => (whole === null ? null : grid.low + grid.step * whole);
  const bound = (side, sign) => mean.map((m, i) => (m === null || side[i] === null ? null : value(m + sign * side[i])));
  return [mean.map(value), bound(below, -1), bound(above, 1)];
}

function drawChart() {
  const stream = DATA.streams[state.chartStream];
  const box = byId('chart');
  plot?.destroy();
  plot = null;
  if (!stream) return;
  const grid = stream.grids[state.quantity] ?? stream.grids.performance;
  const x = grid.tasks;
  const series = [{ label: 'task' }], bands = [], data = [x];
  drawn = [];
  for (const label of state.chosen.keys()) {
    const place = stream.rows.findIndex((row) => DATA.methods[row.method].label === label);
    const curve = place < 0 ? null : grid.curves[place];
    if (!curve) {
      drawn.push({ label, curve: null });
      continue;
    }
    const [mean, low, high] = decoded(grid, curve);
    const gaps = state.quantity !== 'performance';
    const none = { stroke: 'transparent', width: 0, points: { show: false }, spanGaps: gaps };
    const at = data.length;
    data.push(mean, low, high);
    series.push(
      { label, stroke: resolved(colour(label)), width: 2, dash: dash(label), points: { show: mean.length < 2 }, spanGaps: gaps },
      { label: `${label} low`, ...none },
      { label: `${label} high`, ...none },
    );
    bands.push({ series: [at + 2, at + 1], fill: resolved(colour(label), 0.14) });
    drawn.push({ label, curve: [mean, low, high] });
  }
  const values = data.slice(1).flat().filter((value) => value !== null);
  const chance = stream.chance;
  if (state.quantity === 'performance' && chance >= Math.min(...values) && chance <= Math.max(...values)) {
    data.push(x.map(() => chance));
    series.push({ label: 'chance', stroke: resolved('--edge'), width: 1, dash: [2, 3], points: { show: false } });
  }
  const axis = { stroke: resolved('--muted'), grid: { stroke: resolved('--line'), width: 1 }, ticks: { show: false }, font: '12px system-ui, sans-serif' };
  plot = new uPlot(
    {
      width: box.clientWidth,
      height: box.clientHeight || 336,
      scales: { x: { time: false } },
      legend: { show: false },
      cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false } },
      axes: [
        { ...axis, label: 'task', labelSize: 20, labelFont: axis.font, size: 32 },
        { ...axis, size: (u, ticks) => 14 + 7 * Math.max(3, ...(ticks ?? []).map((text) => text.length)) },
      ],
      series,
      bands,
      hooks: { setCursor: [(u) => showValues(u.cursor.idx ?? null)] },
    },
    data,
    box,
  );
  showValues(null);
  const smoothed = grid.width > 1 ? `, averaged over ${grid.width} tasks` : '';
  const unit = state.quantity === 'performance' ? ` (${stream.unit}, dotted: chance ${number(chance)})` : '';
  byId('chart-about').textContent =
    `${QUANTITIES[state.quantity]}${unit}: mean over seeds and its 95% interval${smoothed}. Drag to zoom, double-click to go back; arrow keys move the cursor.`;
}

// The values at a point of the curves; without one, at the last that has any.
function showValues(index) {
  const stream = DATA.streams[state.chartStream];
  const grid = stream.grids[state.quantity];
  const at = index ?? grid.tasks.length - 1;
  const task = `task ${Math.round(grid.tasks[at])} of ${stream.tasks}`;
  byId('at').textContent = index === null ? `${task}; point at the chart for others` : task;
  const said = [];
  const items = drawn.map(({ label, curve }) => {
    const text = curve ? interval(curve.map((line) => line[at] ?? null)) : 'not measured here';
    said.push(`${label} ${text}`);
    return [label, text];
  });
  const rows = [...byId('legend').children];
  items.forEach(([, text], i) => {
    rows[i].querySelector('.value').textContent = text;
  });
  const box = byId('chart');
  box.setAttribute('aria-valuemin', 0);
  box.setAttribute('aria-valuemax', grid.tasks.length - 1);
  box.setAttribute('aria-valuenow', at);
  box.setAttribute('aria-valuetext', `${task}: ${said.join(', ')}`);
}

function drawLegend() {
  const stream = DATA.streams[state.chartStream];
  const here = new Set(stream?.rows.map((row) => DATA.methods[row.method].label));
  const items = [...state.chosen.keys()].map((label) => {
    const sample = svg('line', { x1: 1, x2: 27, y1: 6, y2: 6, 'stroke-width': 2.5, 'stroke-dasharray': dash(label).join(' ') || 'none' });
    sample.style.stroke = `var(${colour(label)})`;
    const item = el(
      'li',
      { class: here.has(label) ? false : 'absent', 'data-label': label },
      svg('svg', { viewBox: '0 0 28 12', 'aria-hidden': 'true' }, sample),
      el('a', { href: hashOf(label) }, label),
      el('span', { class: 'value' }),
      el('button', { type: 'button', 'aria-label': `Take ${label} out of the chart`, click: () => choose(label, false) }, '\u00d7'),
    );
    return item;
  });
  byId('legend').replaceChildren(...items);
  const others = DATA.methods.filter((method) => here.has(method.label) && !state.chosen.has(method.label));
  byId('add').replaceChildren(
    el('option', { value: '' }, 'Add a method\u2026'),
    ...others.map((method) => el('option', { value: method.label }, method.label)),
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
  byId('chart-stream').value = String(state.chartStream);
  drawLegend();
  drawChart();
}

function moveCursor(event) {
  if (!plot) return;
  const last = plot.data[0].length - 1;
  const now = plot.cursor.idx ?? last;
  const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -last, End: last };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const next = Math.min(Math.max(now + steps[event.key], 0), last);
  plot.setCursor({ left: plot.valToPos(plot.data[0][next], 'x'), top: plot.over.clientHeight / 2 });
}

function startChart() {
  byId('quantity').append(
    ...Object.entries(QUANTITIES).map(([name, title]) =>
      el('label', {}, el('input', { type: 'radio', name: 'quantity', value: name, change: () => { state.quantity = name; drawCurves(); } }), el('span', {}, title)),
    ),
  );
  byId('chart-stream').append(...DATA.streams.map((stream, i) => el('option', { value: i }, stream.name)));
  byId('chart-stream').addEventListener('change', (event) => { state.chartStream = Number(event.target.value); drawCurves(); });
  byId('add').addEventListener('change', (event) => event.target.value && choose(event.target.value, true));
  byId('default-methods').addEventListener('click', () => { chooseDefaults(); render(); });
  byId('chart').addEventListener('keydown', moveCursor);
  new ResizeObserver(() => plot?.setSize({ width: byId('chart').clientWidth, height: plot.height })).observe(byId('chart'));
}
