// @ts-check
// The page's state, its filters, and what is drawn from them.

const DATA = named(JSON.parse(byId('data').textContent ?? ''));
const HAS_TUNED = DATA.methods.some((method) => method.tuned);
// A report with at most this many rows shows all streams at once.
const OPEN_ROWS = 60;
const MOST_NAMED = 8;
const NOTHING_TOGETHER = 'Nothing to show of these streams together: that takes two with a retained ' +
  'plasticity. See each below.';
const TUNED_BASES = new Set(DATA.methods.filter((method) => method.tuned).map((method) => method.base));
const SETTINGS = { tuned: 'tuned', default: 'default', all: 'tuned and default' };
const state = {
  suite: '', stream: -1, family: '', search: '',
  settings: '', // of SETTINGS; empty until the reader chooses one, and settingsShown decides
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
    }
  }
  for (const { rows } of [...new Set([data.overall, ...Object.values(data.by_suite), ...data.streams])]) {
    for (const row of rows) row.seeds = unpacked(row.seeds);
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
  const key = (row) => [-(row.streams?.length ?? 0), -(point(row, 'retained_plasticity') ?? -Infinity)];
  return [...rows].sort((a, b) => {
    const [left, right] = [key(a), key(b)];
    return left[0] - right[0] || (left[1] === right[1] ? 0 : left[1] - right[1]);
  });
}

/**
 * A reference that nobody tuned is shown with the tuned rows, too.
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

function commonColumns() {
  /** @type {Record<'show' | 'rank' | 'method' | 'boundaries' | 'none' | 'n', Column<Row>>} */
  const columns = {
    show: { key: 'show', title: '', name: 'in the chart', cell: (row) => showCell(methodOf(row)) },
    rank: {
      key: 'rank', title: '#', ascending: true, number: true,
      value: (row) => row.rank,
      cell: (row) => rankCell(row, settingsShown()),
      hint: 'Rank; 3= : shared by rows without a significant difference from the first of them',
    },
    method: {
      key: 'method', title: 'method', ascending: true, pinned: true,
      value: (row) => methodOf(row).label,
      cell: (row) => methodCell(methodOf(row)),
    },
    boundaries: {
      key: 'boundaries', title: 'uses task boundaries', minor: true, wraps: true,
      value: (row) => Number(methodOf(row).task_boundaries),
      cell: (row) => (methodOf(row).task_boundaries ? 'yes' : 'no'),
      hint: 'The method is notified when the task changes',
    },
    none: {
      key: 'none', title: 'vs none', number: true,
      value: (row) => row.none?.difference[0] ?? null,
      cell: (row) => differenceCell(row.none),
      hint: 'Difference to none (of tuned rows: to none, tuned); * : significant',
    },
    n: {
      key: 'n', title: 'n', minor: true, number: true,
      value: (row) => row.seeds.length,
      cell: (row) => String(row.seeds.length),
      hint: 'Seeds',
    },
  };
  return columns;
}

/**
 * @param {string} name
 * @returns {Column<Row>}
 */
function metricColumn(name) {
  return {
    key: name, title: METRIC_TITLES[name], hint: DATA.metrics[name], number: true, wraps: true,
    ascending: ['plasticity_loss', 'fresh_gap', 'dormant_fraction', 'cost'].includes(name),
    value: (row) => point(row, name),
    cell: (row) => {
      const whole = row.summary[name];
      const title = Array.isArray(whole) ? interval(whole) : false;
      return el('span', { title }, metricText(name, point(row, name)));
    },
  };
}

/**
 * @param {Axis | null} axis
 * @returns {Column<Row>}
 */
function retainedColumn(axis) {
  const cell = (/** @type {Row} */ row) => retainedCell(row, axis);
  return { ...metricColumn('retained_plasticity'), title: 'retained [95% CI]', wraps: false, cell };
}

/** @param {number[]} streams */
function rankingTitle(streams) {
  if (!streams.length) return 'No records yet';
  if (streams.length === 1) return DATA.streams[streams[0]].name;
  return state.suite ? `Suite ${state.suite}` : 'All streams';
}

/**
 * @param {Row[]} rows
 * @param {boolean} together
 */
function rankingAbout(rows, together) {
  const count = new Set(rows.flatMap((row) => row.streams ?? [])).size;
  const what = together
    ? `Retained plasticity over ${counted(count, 'stream')}: mean over streams of the interquartile mean ` +
      'over seeds, with its 95% interval.'
    : 'Retained plasticity: interquartile mean over seeds, with its 95% interval.';
  const apart = settingsShown() === 'all' ? ' Tuned and default rows are ranked apart.' : '';
  return `${what} Methods share a rank (3=) if their difference from the rank\u2019s first method is not ` +
    `significant; * differs significantly from none.${apart}`;
}

/**
 * Why rows have no rank, the most frequent reason first.
 * @param {Row[]} rows
 */
function unranked(rows) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { why } of rows) if (why) counts.set(why, (counts.get(why) ?? 0) + 1);
  const found = [...counts].sort(([, a], [, b]) => b - a);
  return found.map(([why, count]) => `no rank for ${counted(count, 'method')}: ${why}`);
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

function drawRanking() {
  const rows = scopeRows(), shown = ordered(rows.filter(matches)), together = aggregated();
  const streams = scopeStreams();
  const where = rankingTitle(streams);
  byId('ranking-title').textContent = where;
  byId('ranking-about').textContent = rankingAbout(rows, together);
  const empty = rows.length || !streams.length ? undefined : NOTHING_TOGETHER;
  const holder = byId('ranking-table'), columns = rankingColumns(rows, shown);
  drawTable(holder, 'ranking', `Ranking: ${where}`, columns, shown, drawRanking, empty);
  const only = streams.length === 1 ? DATA.streams[streams[0]].notes : [];
  const notes = [...(together ? overall().notes : only), ...unranked(shown)];
  byId('ranking-notes').replaceChildren(...notes.map((note) => el('li', {}, note)));
  const all = rows.filter((row) => hasSettings(methodOf(row), settingsShown()));
  byId('count').textContent = `${shown.length} of ${all.length} methods`;
}

/**
 * @param {Row[]} rows
 * @param {Row[]} shown
 */
function rankingColumns(rows, shown) {
  const { show, rank, method, none, n, boundaries } = commonColumns();
  const axis = axisOf(shown.map((row) => row.summary.retained_plasticity));
  /** @type {(row: Row) => number} */
  const streams = (row) => row.streams?.length ?? 0;
  const differ = aggregated() && new Set(rows.map(streams)).size > 1;
  /** @type {Column<Row>} */
  const count = {
    key: 'streams', title: 'streams', minor: true, number: true,
    value: streams,
    cell: (row) => String(streams(row)),
  };
  return [
    show, rank, method, retainedColumn(axis), { ...none, minor: true }, ...(differ ? [count] : []), n,
    boundaries, { ...metricColumn('cost'), minor: true },
  ];
}

/**
 * Fills `holder`; `again` draws it when its order has changed.
 * @template {Row} R
 * @param {HTMLElement} holder
 * @param {string} key
 * @param {string} caption
 * @param {Column<R>[]} columns
 * @param {R[]} rows
 * @param {() => void} again
 */
function drawTable(holder, key, caption, columns, rows, again, empty = 'No method fits these filters.') {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const pressed = focused && holder.contains(focused) ? focused.dataset.key : undefined;
  const changed = (/** @type {Order} */ order) => {
    state.orders.set(key, order);
    again();
  };
  holder.replaceChildren(
    rows.length
      ? table(caption, columns, rows, state.orders.get(key), changed)
      : el('p', { class: 'nothing' }, empty),
  );
  if (!pressed) return;
  const button = /** @type {HTMLElement | null} */ (holder.querySelector(`[data-key="${pressed}"]`));
  button?.focus();
}

function drawStreams() {
  byId('stream-list').replaceChildren(...scopeStreams().map(streamSection));
}

/** @param {number} index */
function streamSection(index) {
  const stream = DATA.streams[index];
  const inside = el('div');
  const open = state.stream === index || state.open.has(index);
  const rows = ordered(stream.rows).filter((row) => hasSettings(methodOf(row), settingsShown()));
  const best = rows.find((row) => row.rank !== null && methodOf(row).family !== 'references');
  const facts = [
    `${stream.tasks} tasks`, stream.unit, `chance ${number(stream.chance)}`, `${rows.length} methods`,
    ...(best ? [`best: ${methodOf(best).label} ${number(point(best, 'retained_plasticity'))}`] : []),
  ];
  const toggle = (/** @type {Event} */ event) =>
    streamToggled(index, /** @type {HTMLDetailsElement} */ (event.target), inside);
  const node = el(
    'details',
    { class: 'stream', open, 'data-stream': stream.name, toggle },
    el('summary', {}, el('b', {}, stream.name), el('span', { class: 'faint' }, facts.join(' \u00b7 ')),
      stream.loses === false ? el('span', { class: 'faint flat' }, 'none shows no loss here') : ''),
    inside,
  );
  drawStream(index, inside, open);
  return node;
}

/**
 * Also called once after drawing: the browser reports an element that is made open.
 * @param {number} index
 * @param {HTMLDetailsElement} node
 * @param {HTMLElement} inside
 */
function streamToggled(index, node, inside) {
  state.open[node.open ? 'add' : 'delete'](index);
  if (node.open !== inside.hasChildNodes()) drawStream(index, inside, node.open);
}

/**
 * @param {number} index
 * @param {HTMLElement} holder
 * @param {boolean} open
 */
function drawStream(index, holder, open) {
  if (!open) {
    holder.replaceChildren();
    return;
  }
  const stream = DATA.streams[index];
  const { show, rank, method, n, none, boundaries } = commonColumns();
  const metrics = Object.keys(METRIC_TITLES).slice(1).map(metricColumn);
  /** @type {Column<StreamRow>} */
  const records = {
    key: 'records', title: '', name: 'records',
    cell: (row) => (row.records ? link(row.records, 'records') : ''),
  };
  const columns = [show, rank, method, n, retainedColumn(null), none, ...metrics, boundaries, records];
  const label = `Table of ${stream.name}`;
  const inside = el('div', { class: 'wide', tabindex: 0, role: 'group', 'aria-label': label });
  const again = () => {
    drawTable(inside, stream.name, stream.name, columns, ordered(stream.rows.filter(matches)), again);
  };
  again();
  const settings = Object.entries(stream.settings).map(([name, value]) => `${name} ${value}`).join(', ');
  const about = `${stream.summary}. Data: ${stream.source}. Scored by ${words(stream.score)}`;
  holder.replaceChildren(
    el('p', { class: 'about' }, `${about}${settings ? `; ${settings}` : ''}.`),
    inside,
    el('ul', { class: 'notes' }, ...stream.notes.map((note) => el('li', {}, note))),
  );
}

function drawFilters() {
  byId('stream').replaceChildren(
    el('option', { value: -1 }, state.suite ? 'all of the suite' : 'all'),
    ...suiteStreams().map((index) => el('option', { value: index }, DATA.streams[index].name)),
  );
  control('stream').value = String(state.stream);
  control('suite').value = state.suite;
  control('settings').value = settingsShown();
  control('family').value = state.family;
  control('search').value = state.search;
}

function render() {
  drawFilters();
  drawRanking();
  drawStreams();
  drawCurves();
}

/** @param {Partial<typeof state>} changes */
function filter(changes) {
  Object.assign(state, changes);
  if (!suiteStreams().includes(state.stream)) state.stream = -1;
  if (state.stream >= 0) state.chartStream = state.stream;
  else if (!suiteStreams().includes(state.chartStream)) state.chartStream = suiteStreams()[0];
  if (!state.picked) chooseDefaults();
  render();
}

/** @param {string} text */
function say(text) {
  byId('said').textContent = text;
}

function startTheme() {
  const button = byId('theme'), root = document.documentElement;
  const preferred = matchMedia('(prefers-color-scheme: dark)');
  const dark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : preferred.matches);
  const name = () => { button.textContent = dark() ? 'Light theme' : 'Dark theme'; };
  const kept = () => { name(); drawChart(); };
  try {
    const theme = localStorage.getItem('theme');
    if (theme === 'dark' || theme === 'light') root.dataset.theme = theme;
  } catch { /* storage is off: the theme lasts as long as the page */ }
  button.addEventListener('click', () => {
    root.dataset.theme = dark() ? 'light' : 'dark';
    try {
      localStorage.setItem('theme', root.dataset.theme);
    } catch { /* as above */ }
    kept();
  });
  preferred.addEventListener('change', kept);
  name();
}

// Headings of tables stick below the filters, which may take several lines.
function startFilters() {
  const filters = byId('filters');
  const measure = () => {
    const sticks = getComputedStyle(filters).position === 'sticky';
    document.documentElement.style.setProperty('--bar', `${sticks ? filters.offsetHeight : 0}px`);
  };
  new ResizeObserver(measure).observe(filters);
  addEventListener('resize', measure);
  measure();
  filters.addEventListener('submit', (event) => event.preventDefault());
}

function fillFilters() {
  const families = DATA.families.filter((family) => DATA.methods.some((method) => method.family === family));
  const suites = Object.entries(DATA.suites)
    .map(([name, suite]) => el('option', { value: name, title: suite.summary }, name));
  const settings = Object.entries(SETTINGS).map(([value, text]) => el('option', { value }, text));
  byId('family').append(
    el('option', { value: '' }, 'all'), ...families.map((name) => el('option', { value: name }, name)),
  );
  byId('suite').append(el('option', { value: '' }, 'all'), ...suites);
  byId('settings').append(...settings);
  byId('settings-label').hidden = !HAS_TUNED;
  /** @type {HTMLElement} */ (byId('suite').parentElement).hidden = !suites.length;
  /** @type {HTMLElement} */ (byId('stream').parentElement).hidden = DATA.streams.length < 2;
}

function listenToFilters() {
  const suite = control('suite'), stream = control('stream'), family = control('family');
  const settings = control('settings'), search = control('search');
  suite.addEventListener('change', () => filter({ suite: suite.value, stream: -1 }));
  stream.addEventListener('change', () => filter({ stream: Number(stream.value) }));
  family.addEventListener('change', () => filter({ family: family.value }));
  settings.addEventListener('change', () => filter({ settings: settings.value }));
  search.addEventListener('input', () => { state.search = search.value; drawRanking(); drawStreams(); });
  const none = { suite: '', stream: -1, family: '', settings: '', search: '' };
  byId('clear').addEventListener('click', () => filter(none));
}

function describeRuns() {
  const { runs } = DATA;
  if (!runs) return;
  const where = runs.link ? link(runs.link, runs.folder) : runs.folder;
  const counts = [
    counted(DATA.streams.length, 'stream'), counted(DATA.methods.length, 'method'),
    counted(runs.seeds, 'trained seed'),
  ];
  const waiting = runs.unfinished.map(({ stream, method }) => `${method} on ${stream}`);
  const more = waiting.length > MOST_NAMED ? ` and ${waiting.length - MOST_NAMED} more` : '';
  const list = `${waiting.slice(0, MOST_NAMED).join(', ')}${more}`;
  byId('runs').replaceChildren(
    el('span', {}, 'Records: ', where, `: ${counts.join(', ')}.`),
    ...(waiting.length ? [` No finished seed yet: ${list}.`] : []),
  );
}

function describeColumns() {
  const definitions = {
    n: 'seeds recorded.',
    'uses task boundaries': 'the method is notified when the task changes.',
    '#': `rank by retained plasticity, of rows with ${DATA.few_seeds} seeds or more; tuned rows are ` +
      'ranked among tuned ones, and default rows among default ones. Methods share a rank (3=) if their ' +
      'difference from the rank\u2019s first method is not significant. That does not prove that they are ' +
      'equal.',
    'vs none': 'difference of retained plasticity to none on the seeds of both; tuned rows are compared ' +
      `with none as tuned. * : significant at ${DATA.level}, in a test corrected for all pairs of the ` +
      'table (paired, by sign flips of whole seeds, Westfall and Young\u2019s max-T).',
    ...DATA.metrics,
  };
  const entries = Object.entries(definitions);
  byId('definitions').append(
    ...entries.flatMap(([name, text]) => [el('dt', {}, words(name)), el('dd', {}, ...marked(text))]),
    el('dt', {}, 'window'),
    el('dd', {}, 'the first or last 10% of the tasks. Chance: the score of guessing, by stream.'),
  );
}

function start() {
  const few = DATA.runs && DATA.streams.reduce((sum, stream) => sum + stream.rows.length, 0) <= OPEN_ROWS;
  DATA.streams.slice(0, few ? undefined : 1).forEach((stream, index) => state.open.add(index));
  fillFilters();
  listenToFilters();
  describeColumns();
  describeRuns();
  startTheme();
  startFilters();
  startChart();
  filter(firstView());
  startDetail();
}

start();
