// The page's state, its filters, and what is drawn from them.

const DATA = named(JSON.parse(byId('data').textContent));
const HAS_TUNED = DATA.methods.some((method) => method.tuned);
// A report of no more rows than these shows all streams at once.
const OPEN_ROWS = 60;
const MOST_NAMED = 8;
const NOTHING_TOGETHER = 'Nothing to show of these streams together: that takes two with a retained plasticity. See each below.';
const TUNED_BASES = new Set(DATA.methods.filter((method) => method.tuned).map((method) => method.base));
const SETTINGS = { tuned: 'tuned', default: 'default', all: 'tuned and default' };
const state = {
  suite: '', stream: -1, family: '', search: '',
  settings: '', // of SETTINGS; until one is chosen, settingsShown says which
  chosen: new Map(), // label -> place among the colours
  picked: false, // whether the reader chose what the chart shows
  chartStream: 0, quantity: 'performance',
  orders: new Map(), // table -> {key, down}
  open: new Set(),
};

// The data with rows as the rest reads them: metrics by name, seeds as numbers.
function named(data) {
  const metrics = Object.keys(data.metrics);
  const byName = (list) => Object.fromEntries(metrics.map((name, i) => [name, list[i]]));
  for (const row of data.streams.flatMap((stream) => stream.rows)) {
    row.summary = byName(row.summary);
    row.values = byName(row.values);
  }
  const tables = new Set([data.overall, ...Object.values(data.by_suite), ...data.streams]);
  for (const row of [...tables].flatMap((table) => table.rows)) row.seeds = unpacked(row.seeds);
  return data;
}

function choose(label, shown) {
  state.picked = true;
  if (!shown) state.chosen.delete(label);
  else if (!state.chosen.has(label)) {
    const taken = new Set([...state.chosen].filter(([name]) => !isReference(name)).map(([, place]) => place));
    let place = 0;
    while (taken.has(place)) place += 1;
    state.chosen.set(label, place);
  }
  // Only the boxes change, so that the one pressed keeps the focus.
  for (const box of document.querySelectorAll('[data-show]')) {
    box.checked = state.chosen.has(box.dataset.show);
    box.style.accentColor = box.checked ? `var(${colour(box.dataset.show)})` : '';
  }
  drawCurves();
}

function chooseDefaults() {
  const rows = scopeRows().length ? scopeRows() : DATA.streams[state.chartStream]?.rows ?? [];
  const ranked = ordered(rows).map((row) => DATA.methods[row.method]).filter((method) => hasSettings(method, settingsShown()));
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

// Whether the ranking is over streams together; with one stream, or nothing to aggregate, it is a stream's.
function aggregated() {
  return state.stream < 0 && overall().rows.length > 0;
}

function overall() {
  return state.suite ? DATA.by_suite[state.suite] : DATA.overall;
}

function scopeRows() {
  if (aggregated()) return overall().rows;
  const streams = scopeStreams();
  return streams.length === 1 ? DATA.streams[streams[0]].rows : [];
}

// What is shown of tuned and default rows in the present view.
function settingsShown() {
  const rows = aggregated() ? overall().rows : scopeStreams().flatMap((index) => DATA.streams[index].rows);
  const usual = DATA.runs ? 'all' : rows.some((row) => DATA.methods[row.method].tuned) ? 'tuned' : 'default';
  return state.settings || usual;
}

// Tuned and default rows stand among each other where both are shown: those of most streams first, then by score.
function ordered(rows) {
  if (settingsShown() !== 'all') return rows;
  const key = (row) => [-(row.streams?.length ?? 0), -(point(row, 'retained_plasticity') ?? -Infinity)];
  return [...rows].sort((a, b) => {
    const [left, right] = [key(a), key(b)];
    return left[0] - right[0] || (left[1] === right[1] ? 0 : left[1] - right[1]);
  });
}

// Beside tuned rows stands a reference that nobody tuned.
function hasSettings(method, settings) {
  if (settings === 'all' || method.tuned === (settings === 'tuned')) return true;
  return !method.tuned && method.family === 'references' && !TUNED_BASES.has(method.base);
}

function matches(row) {
  const method = DATA.methods[row.method];
  if (!hasSettings(method, settingsShown())) return false;
  if (state.family && method.family !== state.family) return false;
  const text = [method.label, method.summary, method.family, ...method.cited.map((cited) => cited.text)].join(' ').toLowerCase();
  return state.search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function commonColumns(stream) {
  const method = (row) => DATA.methods[row.method];
  return {
    show: { key: 'show', title: '', name: 'in the chart', cell: (row) => showCell(method(row)) },
    rank: { key: 'rank', title: '#', ascending: true, number: true, value: (row) => row.rank, cell: (row) => rankCell(row, settingsShown()), hint: 'Rank; 3= : shared by rows that do not differ significantly from its first' },
    method: { key: 'method', title: 'method', ascending: true, pinned: true, value: (row) => method(row).label, cell: (row) => methodCell(method(row)) },
    told: { key: 'told', title: 'told', minor: true, value: (row) => Number(method(row).told), cell: (row) => (method(row).told ? 'yes' : 'no'), hint: 'The method is told when the task changes' },
    none: { key: 'none', title: 'vs none', number: true, value: (row) => row.none?.difference[0] ?? null, cell: (row) => differenceCell(row.none), hint: 'Difference to none (of tuned rows: to none, tuned); * : significant' },
    n: { key: 'n', title: 'n', minor: true, number: true, value: (row) => row.seeds.length, cell: (row) => String(row.seeds.length), hint: 'Seeds' },
  };
}

function metricColumn(name) {
  const ascending = ['plasticity_loss', 'fresh_gap', 'dormant_fraction', 'cost'].includes(name);
  const cell = (row) => {
    const whole = row.summary[name];
    return el('span', { title: Array.isArray(whole) ? interval(whole) : false }, metricText(name, point(row, name)));
  };
  return { key: name, title: METRIC_TITLES[name], hint: DATA.metrics[name], number: true, ascending, value: (row) => point(row, name), cell };
}

function retainedColumn(axis) {
  return { ...metricColumn('retained_plasticity'), title: 'retained [95% CI]', cell: (row) => retainedCell(row, axis) };
}

function rankingTitle(streams) {
  if (!streams.length) return 'No records yet';
  if (streams.length === 1) return DATA.streams[streams[0]].name;
  return state.suite ? `Suite ${state.suite}` : 'All streams';
}

function rankingAbout(rows, together) {
  const what = together
    ? `Retained plasticity over ${counted(new Set(rows.flatMap((row) => row.streams)).size, 'stream')}: mean over streams of the interquartile mean over seeds, with its 95% interval.`
    : 'Retained plasticity: interquartile mean over seeds, with its 95% interval.';
  const apart = settingsShown() === 'all' ? ' Tuned and default rows are ranked apart.' : '';
  return `${what} Rows that do not differ significantly from the first of a rank share it (3=); * differs significantly from none.${apart}`;
}

// Why rows have no rank, the commonest reason first.
function unranked(rows) {
  const counts = new Map();
  for (const { why } of rows) if (why) counts.set(why, (counts.get(why) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([why, count]) => `no rank for ${counted(count, 'method')}: ${why}`);
}

// The filters to begin with: where nothing that is shown has a rank over all streams, the suite that ranks
// most of it (tuned rows, where there are any); where nothing adds up over streams, the first stream.
function firstView() {
  if (!DATA.overall.rows.length) return { stream: DATA.streams.length > 1 ? 0 : -1 };
  const tuned = !DATA.runs && DATA.methods.some((method) => method.tuned);
  const ranked = (table) => table.rows.filter((row) => row.rank !== null && (DATA.methods[row.method].tuned || !tuned)).length;
  if (ranked(DATA.overall)) return {};
  const [suite, count] = Object.entries(DATA.by_suite).map(([name, table]) => [name, ranked(table)])
    .reduce((best, one) => (one[1] > best[1] ? one : best), ['', 0]);
  return count ? { suite } : {};
}

function drawRanking() {
  const rows = scopeRows(), shown = ordered(rows.filter(matches)), together = aggregated();
  const streams = scopeStreams();
  const where = rankingTitle(streams);
  byId('ranking-title').textContent = where;
  byId('ranking-about').textContent = rankingAbout(rows, together);
  const columns = commonColumns();
  const axis = axisOf(shown.map((row) => row.summary.retained_plasticity));
  const count = { key: 'streams', title: 'streams', minor: true, number: true, value: (row) => row.streams.length, cell: (row) => String(row.streams.length) };
  const list = [columns.show, columns.rank, columns.method, retainedColumn(axis), { ...columns.none, minor: true }, ...(together && new Set(rows.map((row) => row.streams.length)).size > 1 ? [count] : []), columns.n, columns.told, { ...metricColumn('cost'), minor: true }];
  drawTable('ranking-table', 'ranking', `Ranking: ${where}`, list, shown, drawRanking, rows.length || !streams.length ? undefined : NOTHING_TOGETHER);
  const notes = together ? [...overall().notes] : streams.length === 1 ? [...DATA.streams[streams[0]].notes] : [];
  notes.push(...unranked(shown));
  byId('ranking-notes').replaceChildren(...notes.map((note) => el('li', {}, note)));
  const all = rows.filter((row) => hasSettings(DATA.methods[row.method], settingsShown()));
  byId('count').textContent = `${shown.length} of ${all.length} methods`;
}

function drawTable(id, key, caption, columns, rows, again, empty = 'No method fits these filters.') {
  const holder = typeof id === 'string' ? byId(id) : id;
  const pressed = holder.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const changed = (order) => {
    state.orders.set(key, order);
    again();
  };
  holder.replaceChildren(
    rows.length
      ? table(caption, columns, rows, state.orders.get(key), changed, (row) => DATA.methods[row.method])
      : el('p', { class: 'nothing' }, empty),
  );
  if (pressed) holder.querySelector(`[data-key="${pressed}"]`)?.focus();
}

function drawStreams() {
  byId('stream-list').replaceChildren(...scopeStreams().map((index) => {
    const stream = DATA.streams[index];
    const inside = el('div');
    const open = state.stream === index || state.open.has(index);
    const rows = ordered(stream.rows).filter((row) => hasSettings(DATA.methods[row.method], settingsShown()));
    const best = rows.find((row) => row.rank !== null && DATA.methods[row.method].family !== 'references');
    const facts = [`${stream.tasks} tasks`, stream.unit, `chance ${number(stream.chance)}`, `${rows.length} methods`];
    if (best) facts.push(`best: ${DATA.methods[best.method].label} ${number(point(best, 'retained_plasticity'))}`);
    const node = el(
      'details',
      { class: 'stream', open, 'data-stream': stream.name, toggle: () => streamToggled(index, node, inside) },
      el('summary', {}, el('b', {}, stream.name), el('span', { class: 'faint' }, facts.join(' \u00b7 ')),
        stream.loses === false ? el('span', { class: 'faint flat' }, 'none shows no loss here') : ''),
      inside,
    );
    drawStream(index, inside, open);
    return node;
  }));
}

// Also called once after drawing: an element that is made open says so.
function streamToggled(index, node, inside) {
  state.open[node.open ? 'add' : 'delete'](index);
  if (node.open !== inside.hasChildNodes()) drawStream(index, inside, node.open);
}

function drawStream(index, holder, open) {
  if (!open) {
    holder.replaceChildren();
    return;
  }
  const stream = DATA.streams[index];
  const columns = commonColumns();
  const records = { key: 'records', title: '', name: 'records', cell: (row) => (row.records ? link(row.records, 'records') : '') };
  const list = [columns.show, columns.rank, columns.method, columns.n, retainedColumn(null), columns.none, ...Object.keys(METRIC_TITLES).slice(1).map(metricColumn), columns.told, records];
  const inside = el('div', { class: 'wide', tabindex: 0, role: 'group', 'aria-label': `Table of ${stream.name}` });
  const again = () => drawTable(inside, stream.name, stream.name, list, ordered(stream.rows.filter(matches)), again);
  again();
  const settings = Object.entries(stream.settings).map(([name, value]) => `${name} ${value}`).join(', ');
  const about = `${stream.summary}. Data: ${stream.source}. Scored by ${words(stream.score)}${settings ? `; ${settings}` : ''}.`;
  holder.replaceChildren(
    el('p', { class: 'about' }, about),
    inside,
    el('ul', { class: 'notes' }, ...stream.notes.map((note) => el('li', {}, note))),
  );
}

function drawFilters() {
  const streams = suiteStreams();
  byId('stream').replaceChildren(
    el('option', { value: -1 }, state.suite ? 'all of the suite' : 'all'),
    ...streams.map((index) => el('option', { value: index }, DATA.streams[index].name)),
  );
  byId('stream').value = String(state.stream);
  byId('suite').value = state.suite;
  byId('settings').value = settingsShown();
  byId('family').value = state.family;
  byId('search').value = state.search;
}

function render() {
  drawFilters();
  drawRanking();
  drawStreams();
  drawCurves();
}

function filter(changes) {
  Object.assign(state, changes);
  if (!suiteStreams().includes(state.stream)) state.stream = -1;
  if (state.stream >= 0) state.chartStream = state.stream;
  else if (!suiteStreams().includes(state.chartStream)) state.chartStream = suiteStreams()[0];
  if (!state.picked) chooseDefaults();
  render();
}

function say(text) {
  byId('said').textContent = text;
}

function startTheme() {
  const button = byId('theme'), root = document.documentElement, preferred = matchMedia('(prefers-color-scheme: dark)');
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

// Headings of tables stick below the filters, however many lines these take.
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

function describeRuns() {
  const { runs } = DATA;
  if (!runs) return;
  const where = runs.link ? link(runs.link, runs.folder) : runs.folder;
  const parts = [el('span', {}, 'Records: ', where, `: ${counted(DATA.streams.length, 'stream')}, ${counted(DATA.methods.length, 'method')}, ${counted(runs.seeds, 'trained seed')}.`)];
  const waiting = runs.unfinished.map(({ stream, method }) => `${method} on ${stream}`);
  const more = waiting.length > MOST_NAMED ? ` and ${waiting.length - MOST_NAMED} more` : '';
  if (waiting.length) parts.push(` No finished seed yet: ${waiting.slice(0, MOST_NAMED).join(', ')}${more}.`);
  byId('runs').replaceChildren(...parts);
}

function start() {
  const families = DATA.families.filter((family) => DATA.methods.some((method) => method.family === family));
  byId('family').append(el('option', { value: '' }, 'all'), ...families.map((name) => el('option', { value: name }, name)));
  byId('suite').append(el('option', { value: '' }, 'all'), ...Object.entries(DATA.suites).map(([name, suite]) => el('option', { value: name, title: suite.summary }, name)));
  byId('suite').addEventListener('change', (event) => filter({ suite: event.target.value, stream: -1 }));
  byId('stream').addEventListener('change', (event) => filter({ stream: Number(event.target.value) }));
  byId('family').addEventListener('change', (event) => filter({ family: event.target.value }));
  byId('settings').append(...Object.entries(SETTINGS).map(([value, text]) => el('option', { value }, text)));
  byId('settings').addEventListener('change', (event) => filter({ settings: event.target.value }));
  byId('settings-label').hidden = !HAS_TUNED;
  byId('suite').parentElement.hidden = !Object.keys(DATA.suites).length;
  byId('stream').parentElement.hidden = DATA.streams.length < 2;
  byId('search').addEventListener('input', (event) => { state.search = event.target.value; drawRanking(); drawStreams(); });
  byId('clear').addEventListener('click', () => filter({ suite: '', stream: -1, family: '', settings: '', search: '' }));
  const definitions = { n: 'seeds recorded.', told: 'the method is told when the task changes.', '#': `rank by retained plasticity, of tuned rows among tuned ones and of the others among the others, with ${DATA.few_seeds} seeds or more. Rows that do not differ significantly from the first of a rank share it (3=), which is no proof that they are alike.`, 'vs none': `difference of retained plasticity to none on the seeds of both; tuned rows are compared with none as tuned. * : significant at ${DATA.level}, in a test that is valid for all pairs of the table at once (paired, by sign flips of whole seeds, Westfall and Young\u2019s max-T).`, ...DATA.metrics };
  byId('definitions').append(...Object.entries(definitions).flatMap(([name, text]) => [el('dt', {}, words(name)), el('dd', {}, ...marked(text))]),
    el('dt', {}, 'window'), el('dd', {}, 'the first or last 10% of the tasks. Chance: what guessing scores, by stream.'));
  const few = DATA.runs && DATA.streams.reduce((sum, stream) => sum + stream.rows.length, 0) <= OPEN_ROWS;
  DATA.streams.slice(0, few ? undefined : 1).forEach((stream, index) => state.open.add(index));
  describeRuns();
  startTheme();
  startFilters();
  startChart();
  filter(firstView());
  startDetail();
}

start();
