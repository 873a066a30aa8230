// @ts-check
// A method's own panel: what it is, its results on every stream, every seed, and how to cite it.

/** @param {string} label */
function openDetail(label) {
  const index = DATA.methods.findIndex((method) => method.label === label);
  const dialog = detailDialog();
  if (index < 0) {
    dialog.close();
    return;
  }
  dialog.replaceChildren(...detailParts(DATA.methods[index], index));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function detailDialog() {
  return /** @type {HTMLDialogElement} */ (byId('detail'));
}

/**
 * @param {Method} method
 * @param {number} index
 */
function detailParts(method, index) {
  const found = DATA.streams.flatMap((stream) =>
    stream.rows.filter((row) => row.method === index).map((row) => ({ stream, row })),
  );
  const close = el('button', { type: 'button', click: () => detailDialog().close() }, 'Close');
  return [
    el('header', {}, el('h2', { id: 'detail-title' }, method.label), close),
    el('p', { class: 'lead' }, method.summary),
    about(method),
    ...hyperparameters(method, found),
    ...together(index),
    el('h3', {}, 'By stream'),
    byStream(found),
    ...comparisons(index, found),
    ...sweeps(found),
    el('h3', {}, 'Every seed'),
    ...found.map(({ stream, row }) => perSeed(stream, row)),
    el('h3', {}, method.cited.length > 1 ? 'Citations' : 'Citation'),
    ...method.cited.flatMap(citation),
    ...source(method),
  ];
}

/**
 * A list of names, each with its content.
 * @param {Content[][]} entries
 */
function pairs(entries) {
  const terms = entries.flatMap(([name, ...value]) => [el('dt', {}, name), el('dd', {}, ...value)]);
  return el('dl', {}, ...terms);
}

/** @param {Method} method */
function about(method) {
  const other = DATA.methods.find((one) => one.base === method.base && one.tuned !== method.tuned);
  const toOther = other ? el('a', { href: hashOf(other.label) }, other.tuned ? 'tuned' : 'default') : null;
  const chosen = method.tuned ? 'chosen by a sweep for each stream' : 'the same on every stream';
  const { submitter, link: address } = method.extra;
  return pairs([
    ['settings', chosen, ...(toOther ? [' (', toOther, ')'] : [])],
    ['family', method.family],
    ['task boundaries', method.task_boundaries
      ? 'used: the method is notified when the task changes'
      : 'not used: the method is not notified when the task changes'],
    ['version', String(method.version)],
    ...(method.source === 'builtin' ? [] : [['source', method.source]]),
    ...(submitter ? [['submitted by', submitter]] : []),
    ...(address ? [['submission', link(address, address)]] : []),
  ]);
}

/**
 * The method's rows in all tables over streams, with the tables' names; a suite of all streams is left out.
 * @param {number} index
 */
function aggregates(index) {
  /** @type {[string, Aggregate][]} */
  const suites = Object.entries(DATA.by_suite)
    .filter(([name]) => DATA.suites[name].streams.length < DATA.streams.length)
    .map(([name, table]) => [`suite ${name}`, table]);
  /** @type {[string, Aggregate][]} */
  const tables = [['all streams', DATA.overall], ...suites];
  return tables.flatMap(([name, { rows }]) =>
    rows.filter((row) => row.method === index).map((row) => ({ name, row, rows })),
  );
}

/** @param {number} index */
function together(index) {
  const found = aggregates(index);
  if (!found.length) return [];
  const axis = axisOf(found.map(({ row }) => row.summary.level));
  const head = [
    '', '#', 'streams', 'n', 'score', 'uncapped', 'retention', 'p loss', 'lowest level', 'on stream',
  ];
  const lines = found.map(({ name, row, rows }) => [
    name,
    rankAmong(row, rows),
    String(row.streams.length),
    String(row.seeds),
    levelCell(row, axis),
    interval(row.uncapped),
    metricText('retention', point(row, 'retention')),
    pText(row.p_loss),
    number(row.lowest[1]),
    DATA.streams[row.lowest[0]].name,
  ]);
  const note = 'Score: mean over streams of the level, of which at most 1 counts on each; uncapped: of ' +
    'the whole level. Retention: mean over streams. Lowest: of a single stream.';
  return [
    el('h3', {}, 'Streams together'),
    el('p', { class: 'about' }, note),
    wideTable('Results over streams', head, lines, [1, 2, 3, 4, 5, 6, 7, 8]),
  ];
}

/**
 * @param {Row} row
 * @param {Row[]} rows
 */
function rankAmong(row, rows) {
  if (row.rank === null) return rankCell(row);
  const { tuned } = DATA.methods[row.method];
  const ranked = rows.filter((one) => one.rank !== null && DATA.methods[one.method].tuned === tuned);
  return [rankCell(row), el('span', { class: 'faint' }, `\u00a0of ${ranked.length}`)];
}

/**
 * With `none` and with `reset`, over all streams and on each.
 * @param {number} index
 * @param {Found[]} found
 */
function comparisons(index, found) {
  /** @type {{ name: string, row: Row }[]} */
  const tables = [...aggregates(index), ...found.map(({ stream, row }) => ({ name: stream.name, row }))];
  const lines = tables.flatMap(({ name, row }) => {
    return [row.none, row.reset].flatMap((one) => (one ? [[name, ...comparisonCells(one)]] : []));
  });
  if (!lines.length) return [];
  const head = [
    'stream', 'against', 'difference [95% CI]', 'p, all pairs', 'p, Holm', 'P(better run) [95% CI]', 'n',
  ];
  const note = 'Differences of levels (of scores over streams) on common seeds. * : significant at ' +
    `${DATA.level}, by ` +
    'a p-value corrected for all pairs of the table. Holm: the pair alone, corrected for its column.';
  return [
    el('h3', {}, 'Against none and reset'),
    el('p', { class: 'about' }, note),
    wideTable('Comparisons', head, lines, [2, 3, 4, 5, 6]),
  ];
}

/** @param {Comparison} comparison */
function comparisonCells(comparison) {
  const { other, p, holm, improvement, seeds } = comparison;
  return [
    el('code', {}, DATA.methods[other].label), differenceCell(comparison, true), pText(p), pText(holm),
    interval(improvement), String(seeds),
  ];
}

/** @param {Found[]} found */
function byStream(found) {
  const axis = axisOf(found.map(({ row }) => row.summary.level));
  const rest = Object.keys(METRIC_TITLES).slice(1);
  const head = [
    'stream', '#', 'n', 'level', 'p loss', ...rest.map((name) => METRIC_TITLES[name]), '',
  ];
  const rows = found.map(({ stream, row }) => [
    stream.name,
    rankAmong(row, stream.rows),
    String(row.seeds.length),
    levelCell(row, axis),
    pText(row.p_loss),
    ...rest.map((name) =>
      el('span', { title: interval(row.summary[name]) }, metricText(name, row.summary[name][0]))),
    row.records ? link(row.records, 'records') : '',
  ]);
  return wideTable('Results by stream', head, rows, head.map((title, i) => i).slice(1, -1));
}

/**
 * Filled when it is opened: with many streams and seeds it is most of the panel.
 * @param {Stream} stream
 * @param {StreamRow} row
 */
function perSeed(stream, row) {
  const names = Object.keys(METRIC_TITLES);
  const count = el('span', { class: 'faint' }, counted(row.seeds.length, 'seed'));
  return opened([`${stream.name} `, count], () => {
    const values = names.map((name) => seedValues(row, name));
    const rows = row.seeds.map((seed, i) => [
      String(seed),
      ...names.map((name, place) => metricText(name, values[place][i])),
      row.records ? link(`${row.records}/seed-${String(seed).padStart(3, '0')}.csv`, 'every task') : '',
    ]);
    const head = ['seed', ...names.map((name) => METRIC_TITLES[name]), ''];
    return wideTable(`Seeds on ${stream.name}`, head, rows, names.map((name, i) => i + 1));
  });
}

/**
 * A part that is made when it is opened.
 * @param {Content[]} title
 * @param {() => Node} make
 */
function opened(title, make) {
  const holder = el('div');
  const fill = (/** @type {Event} */ event) => {
    const { open } = /** @type {HTMLDetailsElement} */ (event.target);
    if (open && !holder.childElementCount) holder.append(make());
  };
  return el('details', { toggle: fill }, el('summary', {}, ...title), holder);
}

/**
 * A table in its own scrolling box. The first column names the rows; columns in `numbers` are right-aligned.
 * @param {string} name
 * @param {Content[]} head
 * @param {(Content | Content[])[][]} rows
 * @param {number[]} numbers
 */
function wideTable(name, head, rows, numbers = []) {
  const side = (/** @type {number} */ i) => (numbers.includes(i) ? 'number' : false);
  const titles = head.map((title, i) =>
    (title === '' ? el('td') : el('th', { scope: 'col', class: side(i) }, title)));
  const body = rows.map(([first, ...cells]) =>
    el('tr', {}, el('th', { scope: 'row', class: 'pinned' }, ...[first].flat()),
      ...cells.map((cell, i) => el('td', { class: side(i + 1) }, ...[cell].flat()))));
  return el('div', { class: 'wide', tabindex: 0, role: 'group', 'aria-label': name },
    el('table', {}, el('thead', {}, el('tr', {}, ...titles)), el('tbody', {}, ...body)));
}

/** @param {Citation} cited */
function citation(cited) {
  const box = { class: 'bibtex', tabindex: 0, role: 'group', 'aria-label': 'BibTeX' };
  const text = el('pre', box, cited.bibtex);
  const copy = el('button', { type: 'button' }, 'Copy BibTeX');
  copy.addEventListener('click', () => copied(text, copy));
  const work = cited.url ? link(cited.url, cited.text) : el('span', {}, cited.text);
  return [el('div', { class: 'cite' }, work, copy), text];
}

/**
 * @param {HTMLElement} text
 * @param {HTMLElement} button
 */
async function copied(text, button) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text.textContent ?? '');
    done = true;
  } catch {
    getSelection()?.selectAllChildren(text);
    done = document.execCommand('copy');
  }
  say(done ? 'BibTeX copied' : 'BibTeX selected: copy it with the keyboard');
  button.textContent = done ? 'Copied' : 'Selected';
  setTimeout(() => { button.textContent = 'Copy BibTeX'; }, 1500);
}

/** @param {Method} method */
function source(method) {
  const { code, code_name: name } = method.extra;
  if (!code) return [];
  return [
    el('h3', {}, 'Source'),
    el('details', {}, el('summary', {}, name || 'source'),
      el('pre', { class: 'code', tabindex: 0, role: 'group', 'aria-label': 'Source' }, code)),
  ];
}

function startDetail() {
  const dialog = detailDialog();
  dialog.addEventListener('close', () => {
    const address = location.pathname + location.search;
    if (location.hash.startsWith('#method=')) history.replaceState(null, '', address);
  });
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  const follow = () => {
    const [, label] = location.hash.match(/^#method=(.*)$/) ?? [];
    if (label === undefined) dialog.close();
    else openDetail(labelOf(label));
  };
  addEventListener('hashchange', follow);
  follow();
}

/**
 * Users may type a hash: if it is not a valid encoding, it is used unchanged.
 * @param {string} text
 */
function labelOf(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
