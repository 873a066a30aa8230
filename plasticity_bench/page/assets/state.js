// @ts-check
// The page's data and state, and which rows the filters leave.

const DATA = named(JSON.parse(byId('data').textContent ?? ''));
const HAS_TUNED = DATA.methods.some((method) => method.tuned);
const TUNED_BASES = new Set(DATA.methods.filter((method) => method.tuned).map((method) => method.base));
const state = {
  suite: '', stream: -1, family: '', search: '',
  settings: '', // of SETTINGS in page.js; empty until the reader chooses one, and settingsShown decides
  picked: false, // whether the reader chose what the chart shows
  chartStream: 0, quantity: 'performance',
  /** @type {Map<string, number>} */
  chosen: new Map(), // label -> place among the colours
  /** @type {Map<string, Order>} */
  orders: new Map(), // table -> its order
  /** @type {Set<number>} */
  open: new Set(), // streams that are unfolded
};

/**
 * The data with rows as the scripts read them: metrics by name, seeds as numbers.
 * @param {any} data
 * @returns {PageData}
 */
function named(data) {
  const metrics = Object.keys(data.metrics);
  /** @type {(list: unknown[]) => Record<string, unknown>} */
  const byName = (list) => Object.fromEntries(metrics.map((name, i) => [name, list[i]]));
  for (const { rows } of data.streams) {
    for (const row of rows) {
      row.summary = byName(row.summary);
      row.values = byName(row.values);
      row.seeds = unpacked(row.seeds);
    }
  }
  return data;
}

/** @param {Row} row */
function methodOf(row) {
  return DATA.methods[row.method];
}

/**
 * @param {string} label
 * @param {boolean} shown
 */
function choose(label, shown) {
  state.picked = true;
  if (!shown) state.chosen.delete(label);
  else if (!state.chosen.has(label)) {
    const others = [...state.chosen].filter(([name]) => !isReference(name));
    const taken = new Set(others.map(([, place]) => place));
    let place = 0;
    while (taken.has(place)) place += 1;
    state.chosen.set(label, place);
  }
  // Only the boxes change, so that the one pressed keeps the focus.
  for (const node of document.querySelectorAll('[data-show]')) {
    const box = /** @type {HTMLInputElement} */ (node);
    const own = box.dataset.show ?? '';
    box.checked = state.chosen.has(own);
    box.style.accentColor = box.checked ? `var(${colour(own)})` : '';
  }
  drawCurves();
}

function chooseDefaults() {
  const rows = scopeRows().length ? scopeRows() : DATA.streams[state.chartStream]?.rows ?? [];
  const ranked = ordered(rows).map(methodOf).filter((method) => hasSettings(method, settingsShown()));
  const best = ranked.filter((method) => method.family !== 'references').slice(0, 3);
  state.picked = false;
  state.chosen.clear();
  for (const base of ['none', 'reset']) {
    const reference = ranked.find((method) => method.base === base);
    if (reference) state.chosen.set(reference.label, 0);
  }
  best.forEach((method, place) => state.chosen.set(method.label, place));
}

function suiteStreams() {
  return state.suite ? DATA.suites[state.suite].streams : DATA.streams.map((stream, i) => i);
}

function scopeStreams() {
  return state.stream >= 0 ? [state.stream] : suiteStreams();
}

// Whether the ranking is over several streams. With one stream, or nothing to aggregate, it is a stream's.
function aggregated() {
  return state.stream < 0 && overall().rows.length > 0;
}

function overall() {
  return state.suite ? DATA.by_suite[state.suite] : DATA.overall;
}

/** @returns {Row[]} */
function scopeRows() {
  if (aggregated()) return overall().rows;
  const streams = scopeStreams();
  return streams.length === 1 ? DATA.streams[streams[0]].rows : [];
}

// Which of tuned and default rows the present view shows.
function settingsShown() {
  /** @type {Row[]} */
  const rows = aggregated() ? overall().rows : scopeStreams().flatMap((index) => DATA.streams[index].rows);
  const usual = DATA.runs ? 'all' : rows.some((row) => methodOf(row).tuned) ? 'tuned' : 'default';
  return state.settings || usual;
}

/**
 * If tuned and default rows are both shown, they are mixed: those of most streams first, then by score.
 * @template {Row} R
 * @param {R[]} rows
 */
function ordered(rows) {
  if (settingsShown() !== 'all') return rows;
  /** @type {(row: R) => [number, number]} */
  const key = (row) => [-(row.streams?.length ?? 0), -(point(row, 'level') ?? -Infinity)];
  return [...rows].sort((a, b) => {
    const [left, right] = [key(a), key(b)];
    return left[0] - right[0] || (left[1] === right[1] ? 0 : left[1] - right[1]);
  });
}

/**
 * A reference without a tuned row is shown with the tuned rows, too.
 * @param {Method} method
 * @param {string} settings
 */
function hasSettings(method, settings) {
  if (settings === 'all' || method.tuned === (settings === 'tuned')) return true;
  return !method.tuned && method.family === 'references' && !TUNED_BASES.has(method.base);
}

/** @param {Row} row */
function matches(row) {
  const method = methodOf(row);
  if (!hasSettings(method, settingsShown())) return false;
  if (state.family && method.family !== state.family) return false;
  const parts = [method.label, method.summary, method.family, ...method.cited.map((cited) => cited.text)];
  const text = parts.join(' ').toLowerCase();
  return state.search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

/**
 * The first filters. If no row that is shown has a rank over all streams: the suite that ranks most of them
 * (of the tuned rows, if there are any). If there is nothing over several streams: the first stream.
 * @returns {Partial<typeof state>}
 */
function firstView() {
  if (!DATA.overall.rows.length) return { stream: DATA.streams.length > 1 ? 0 : -1 };
  const tuned = !DATA.runs && HAS_TUNED;
  /** @type {(table: Aggregate) => number} */
  const ranked = ({ rows }) =>
    rows.filter((row) => row.rank !== null && (methodOf(row).tuned || !tuned)).length;
  if (ranked(DATA.overall)) return {};
  let suite = '', most = 0;
  for (const [name, table] of Object.entries(DATA.by_suite)) {
    if (ranked(table) > most) [suite, most] = [name, ranked(table)];
  }
  return most ? { suite } : {};
}
