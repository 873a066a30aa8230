// @ts-check
// The page's filters and texts, and its start.

// A report with at most this many rows shows all streams at once.
const OPEN_ROWS = 60;
const MOST_NAMED = 8;
const SETTINGS = { tuned: 'tuned', default: 'default', all: 'tuned and default' };

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
  const folder = runs.link ? link(runs.link, runs.folder) : runs.folder;
  const counts = [
    counted(DATA.streams.length, 'stream'), counted(DATA.methods.length, 'method'),
    counted(runs.seeds, 'trained seed'),
  ];
  const waiting = runs.unfinished.map(({ stream, method }) => `${method} on ${stream}`);
  const more = waiting.length > MOST_NAMED ? ` and ${waiting.length - MOST_NAMED} more` : '';
  const list = `${waiting.slice(0, MOST_NAMED).join(', ')}${more}`;
  byId('runs').replaceChildren(
    el('span', {}, 'Records: ', folder, `: ${counts.join(', ')}.`),
    ...(waiting.length ? [` No finished seed yet: ${list}.`] : []),
  );
}

function describeColumns() {
  const definitions = {
    n: 'seeds recorded.',
    'uses task boundaries': 'the method is notified when the task changes.',
    '#': '1 + the number of rows significantly above, for rows with ' +
      `${DATA.few_seeds} seeds or more; tuned rows are ranked among tuned ones, and default rows among ` +
      'default ones. Equal ranks do not prove that methods are equal. Next to it the 95% range of the ' +
      'row\u2019s place when seeds are resampled. none and reset are references and have no rank.',
    'vs none, vs reset': 'difference of levels (of scores over streams) to the reference on the seeds of ' +
      `both; tuned rows are compared with the tuned reference. * : significant at ${DATA.level}, in a ` +
      'test corrected for all pairs of the table (paired, by sign flips of whole seeds, Westfall and ' +
      'Young\u2019s max-T).',
    'p loss': 'of the hypothesis that the method loses no plasticity, by sign flips of seeds between the ' +
      'learner and its fresh twins.',
    ...DATA.metrics,
  };
  const entries = Object.entries(definitions);
  byId('definitions').append(
    ...entries.flatMap(([name, text]) => [el('dt', {}, words(name)), el('dd', {}, ...marked(text))]),
    el('dt', {}, 'window'),
    el('dd', {}, 'the last 10% of the tasks. Chance: the score of guessing, by stream.'),
    el('dt', {}, 'fresh twin'),
    el('dd', {}, 'the same learner, started from scratch at a task and trained on that task alone. Late ' +
      'tasks: the last tenth, at least 5 of a stream with 20 tasks or more.'),
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
