// A method's own panel: what it is, how it did on every stream, every seed, how to cite it.

function openDetail(label) {
  const index = DATA.methods.findIndex((method) => method.label === label);
  const dialog = byId('detail');
  if (index < 0) {
    dialog.close();
    return;
  }
  dialog.replaceChildren(...detailParts(DATA.methods[index], index));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function detailParts(method, index) {
  const found = DATA.streams.flatMap((stream) =>
    stream.rows.filter((row) => row.method === index).map((row) => ({ stream, row })),
  );
  const close = el('button', { type: 'button', click: () => byId('detail').close() }, 'Close');
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

function pairs(entries) {
  return el('dl', {}, ...entries.flatMap(([name, ...value]) => [el('dt', {}, name), el('dd', {}, ...value)]));
}

function about(method) {
  const other = DATA.methods.find((one) => one.base === method.base && one.tuned !== method.tuned);
  return pairs([
    ['settings', method.tuned ? 'chosen by a sweep, for every stream apart' : 'the same on every stream',
      ...(other ? [' (', el('a', { href: hashOf(other.label) }, other.tuned ? 'tuned' : 'default'), ')'] : [])],
    ['family', method.family],
    ['task boundaries', method.told ? 'is told when the task changes' : 'is not told when the task changes'],
    ['version', String(method.version)],
    ...(method.source === 'builtin' ? [] : [['source', method.source]]),
    ...(method.extra.submitter ? [['submitted by', method.extra.submitter]] : []),
    ...(method.extra.link ? [['submission', link(method.extra.link, method.extra.link)]] : []),
  ]);
}

// [name, row, all rows] of every table over streams that has the method; a suite that is all there is, once.
function aggregates(index) {
  const tables = [['all streams', DATA.overall], ...Object.entries(DATA.by_suite)
    .filter(([name]) => DATA.suites[name].streams.length < DATA.streams.length)
    .map(([name, table]) => [`suite ${name}`, table])];
  return tables.flatMap(([name, { rows }]) => rows.filter((row) => row.method === index).map((row) => [name, row, rows]));
}

function together(index) {
  const found = aggregates(index);
  if (!found.length) return [];
  const axis = axisOf(found.map(([, row]) => row.summary.retained_plasticity));
  const head = ['', '#', 'streams', 'n', 'retained plasticity', 'all runs as one', 'lowest', 'on stream'];
  const rows = found.map(([name, row, all]) => [
    name, rankAmong(row, all), String(row.streams.length), String(row.seeds.length), retainedCell(row, axis),
    interval(row.pooled), number(row.lowest[1]), DATA.streams[row.lowest[0]].name,
  ]);
  return [
    el('h3', {}, 'Streams together'),
    el('p', { class: 'about' }, 'Retained plasticity: mean over streams of the interquartile mean over seeds. All runs as one: interquartile mean of the runs of all streams. Lowest: of a single stream.'),
    wideTable('Results over streams', head, rows, [1, 2, 3, 4, 5, 6]),
  ];
}

function rankAmong(row, rows) {
  if (row.rank === null) return rankCell(row);
  const { tuned } = DATA.methods[row.method];
  const ranked = rows.filter((one) => one.rank !== null && DATA.methods[one.method].tuned === tuned);
  return [rankCell(row), el('span', { class: 'faint' }, `\u00a0of ${ranked.length}`)];
}

// Against `none` and against the row above, over all streams and on each.
function comparisons(index, found) {
  const lines = [...aggregates(index), ...found.map(({ stream, row }) => [stream.name, row])].flatMap(([name, row]) =>
    [row.none, row.above].filter((one, i, both) => one && (i === 0 || one.other !== both[0]?.other)).map((one) => [
      name, el('code', {}, DATA.methods[one.other].label), differenceCell(one, true), pText(one.p), pText(one.holm),
      interval(one.improvement), String(one.seeds),
    ]));
  if (!lines.length) return [];
  const head = ['stream', 'against', 'difference [95% CI]', 'p, all pairs', 'p, Holm', 'P(better run) [95% CI]', 'n'];
  return [
    el('h3', {}, 'Against none and the row above'),
    el('p', { class: 'about' }, `Differences of retained plasticity on common seeds. * : significant at ${DATA.level}, by a p-value valid for all pairs of the table at once. Holm: the pair by itself, corrected for its column.`),
    wideTable('Comparisons', head, lines, [2, 3, 4, 5, 6]),
  ];
}

function byStream(found) {
  const axis = axisOf(found.map(({ row }) => row.summary.retained_plasticity));
  const rest = Object.keys(METRIC_TITLES).slice(1);
  const head = ['stream', '#', 'n', 'retained plasticity', ...rest.map((name) => METRIC_TITLES[name]), ''];
  const rows = found.map(({ stream, row }) => [
    stream.name,
    rankAmong(row, stream.rows),
    String(row.seeds.length),
    retainedCell(row, axis),
    ...rest.map((name) => el('span', { title: interval(row.summary[name]) }, metricText(name, row.summary[name][0]))),
    row.records ? link(row.records, 'records') : '',
  ]);
  return wideTable('Results by stream', head, rows, head.map((title, i) => i).slice(1, -1));
}

// Filled when it is opened: with many streams and seeds it is most of the panel.
function perSeed(stream, row) {
  const names = Object.keys(METRIC_TITLES);
  const count = `${row.seeds.length} ${row.seeds.length === 1 ? 'seed' : 'seeds'}`;
  return opened([`${stream.name} `, el('span', { class: 'faint' }, count)], () => {
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

// A part that is made when it is opened.
function opened(title, make) {
  const holder = el('div');
  const fill = (event) => event.target.open && !holder.childElementCount && holder.append(make());
  return el('details', { toggle: fill }, el('summary', {}, ...title), holder);
}

// A table that scrolls by itself; the first column names the rows, `numbers` are the columns set to the right.
function wideTable(name, head, rows, numbers = []) {
  const side = (i) => (numbers.includes(i) ? 'number' : false);
  const titles = head.map((title, i) => (title === '' ? el('td') : el('th', { scope: 'col', class: side(i) }, title)));
  const body = rows.map(([first, ...cells]) =>
    el('tr', {}, el('th', { scope: 'row', class: 'pinned' }, first),
      ...cells.map((cell, i) => el('td', { class: side(i + 1) }, ...[cell].flat()))));
  return el('div', { class: 'wide', tabindex: 0, role: 'group', 'aria-label': name },
    el('table', {}, el('thead', {}, el('tr', {}, ...titles)), el('tbody', {}, ...body)));
}

function citation(cited) {
  const text = el('pre', { class: 'bibtex', tabindex: 0, role: 'group', 'aria-label': 'BibTeX' }, cited.bibtex);
  const copy = el('button', { type: 'button', click: () => copied(text) }, 'Copy BibTeX');
  return [el('div', { class: 'cite' }, cited.url ? link(cited.url, cited.text) : el('span', {}, cited.text), copy), text];
}

async function copied(text) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text.textContent);
    done = true;
  } catch {
    getSelection().selectAllChildren(text);
    done = document.execCommand('copy');
  }
  say(done ? 'BibTeX copied' : 'BibTeX selected: copy it with the keyboard');
  const button = text.previousElementSibling.querySelector('button');
  button.textContent = done ? 'Copied' : 'Selected';
  setTimeout(() => { button.textContent = 'Copy BibTeX'; }, 1500);
}

function source(method) {
  if (!method.extra.code) return [];
  return [
    el('h3', {}, 'Source'),
    el('details', {}, el('summary', {}, method.extra.code_name || 'source'),
      el('pre', { class: 'code', tabindex: 0, role: 'group', 'aria-label': 'Source' }, method.extra.code)),
  ];
}

function startDetail() {
  const dialog = byId('detail');
  dialog.addEventListener('close', () => {
    if (location.hash.startsWith('#method=')) history.replaceState(null, '', location.pathname + location.search);
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

// A hash is typed by people, too: one that is no valid encoding stands for itself.
function labelOf(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
