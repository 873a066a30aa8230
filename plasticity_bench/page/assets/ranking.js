// @ts-check
// The ranking, and the tables of every stream.

const NOTHING_TOGETHER = 'Nothing to show of these streams together: that takes two on which levels are ' +
  'known. See each below.';

function commonColumns() {
  /** @type {Record<'show' | 'rank' | 'method' | 'boundaries' | 'none' | 'reset' | 'n', Column<Row>>} */
  const columns = {
    show: { key: 'show', title: '', name: 'in the chart', cell: (row) => showCell(methodOf(row)) },
    rank: {
      key: 'rank', title: '#', ascending: true, number: true,
      value: (row) => row.rank,
      cell: (row) => rankCell(row, settingsShown()),
      hint: 'Rank: 1 + number of rows significantly above; then the 95% range of its place in resamples',
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
    reset: {
      key: 'reset', title: 'vs reset', number: true, minor: true,
      value: (row) => row.reset?.difference[0] ?? null,
      cell: (row) => differenceCell(row.reset),
      hint: 'Difference to reset (of tuned rows: to reset, tuned); * : significant',
    },
    n: {
      key: 'n', title: 'n', minor: true, number: true,
      value: seedCount,
      cell: (row) => String(seedCount(row)),
      hint: 'Seeds; over streams: of the stream that has the fewest',
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
    ascending: ['plasticity_loss', 'dormant_fraction', 'cost'].includes(name),
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
function levelColumn(axis) {
  const cell = (/** @type {Row} */ row) => levelCell(row, axis);
  const title = aggregated() && axis ? 'score [95% CI]' : 'level [95% CI]';
  return { ...metricColumn('level'), title, wraps: false, cell };
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
    ? `Score over ${counted(count, 'stream')}: mean over streams of the level, of which at most 1 counts ` +
      'on each, with its 95% interval.'
    : 'Level: performance on the last tasks over that of new networks with plain training, with its 95% ' +
      'interval.';
  const apart = settingsShown() === 'all' ? ' Tuned and default rows are ranked apart.' : '';
  return `${what} A rank is 1 + the number of rows significantly above; next to it the 95% range of the ` +
    `place in resamples. * differs significantly. none and reset are references.${apart}`;
}

/**
 * Why rows have no rank, the most frequent reason first. That references have none is said above the table.
 * @param {Row[]} rows
 */
function unranked(rows) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { why } of rows) {
    if (why && why !== 'reference') counts.set(why, (counts.get(why) ?? 0) + 1);
  }
  const found = [...counts].sort(([, a], [, b]) => b - a);
  return found.map(([why, count]) => `no rank for ${counted(count, 'method')}: ${why}`);
}

function drawRanking() {
  const rows = scopeRows(), shown = ordered(rows.filter(matches)), together = aggregated();
  const streams = scopeStreams();
  const title = rankingTitle(streams);
  byId('ranking-title').textContent = title;
  byId('ranking-about').textContent = rankingAbout(rows, together);
  const empty = rows.length || !streams.length ? undefined : NOTHING_TOGETHER;
  const holder = byId('ranking-table'), columns = rankingColumns(rows, shown);
  drawTable(holder, 'ranking', `Ranking: ${title}`, columns, shown, drawRanking, empty);
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
  const { show, rank, method, none, reset, n } = commonColumns();
  const axis = axisOf(shown.map((row) => row.summary.level));
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
    show, rank, method, levelColumn(axis), { ...metricColumn('retention'), minor: true },
    { ...none, minor: true }, reset, ...(differ ? [count] : []), n, { ...metricColumn('cost'), minor: true },
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
    ...(best ? [`best: ${methodOf(best).label} ${number(point(best, 'level'))}`] : []),
  ];
  const toggle = (/** @type {Event} */ event) =>
    streamToggled(index, /** @type {HTMLDetailsElement} */ (event.target), inside);
  const node = el(
    'details',
    { class: 'stream', open, 'data-stream': stream.name, toggle },
    el('summary', {}, el('b', {}, stream.name), el('span', { class: 'faint' }, facts.join(' \u00b7 ')),
      stream.loses === false ? el('span', { class: 'faint flat' }, 'no significant loss of none here') : ''),
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
  const { show, rank, method, n, none, reset, boundaries } = commonColumns();
  const metrics = Object.keys(METRIC_TITLES).slice(1).map(metricColumn);
  /** @type {Column<StreamRow>} */
  const records = {
    key: 'records', title: '', name: 'records',
    cell: (row) => (row.records ? link(row.records, 'records') : ''),
  };
  const columns = [show, rank, method, n, levelColumn(null), none, reset, ...metrics, boundaries, records];
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
