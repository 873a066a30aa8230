// Hyperparameters, by stream where they differ, and the sweeps that chose them.

function hyperparameters(method, found) {
  const named = found.map(({ stream, row }) => ({ stream, settings: row.settings ?? method.settings }));
  const names = [...new Set(named.flatMap(({ settings }) => Object.keys(settings)))];
  const differ = names.filter((name) => new Set(named.map(({ settings }) => JSON.stringify(settings[name]))).size > 1);
  const common = names.filter((name) => !differ.includes(name));
  const values = common.map((name) => [el('code', {}, name), settingText(named[0].settings[name])]);
  return [
    el('h3', {}, 'Hyperparameters'),
    values.length ? pairs(values) : differ.length ? '' : el('p', { class: 'about' }, 'It has none.'),
    differ.length
      ? wideTable('Hyperparameters by stream', ['stream', ...differ.map((name) => el('code', {}, name))],
        named.map(({ stream, settings }) => [stream.name, ...differ.map((name) => ownOrStreams(stream, settings, name))]))
      : '',
  ];
}

// A learning rate that no setting gives is the stream's.
function ownOrStreams(stream, settings, name) {
  if (name in settings) return settingText(settings[name]);
  const usual = name === 'lr' ? stream.settings.lr : undefined;
  return usual === undefined ? NONE : el('span', { class: 'faint' }, `the stream\u2019s ${settingText(usual)}`);
}

function settingText(value) {
  return typeof value === 'string' ? value : JSON.stringify(value) ?? NONE;
}

function sweeps(found) {
  const tuned = found.filter(({ row }) => row.tuning);
  if (!tuned.length) return [];
  const cost = ({ row }) => row.tuning.seconds.reduce((sum, seconds) => sum + (seconds ?? 0), 0);
  const head = ['stream', 'configurations', 'tuning seeds', 'training time', 'chosen', 'its score', 'score of the default'];
  const rows = tuned.map((entry) => {
    const { tuning } = entry.row;
    return [
      entry.stream.name, String(tuning.scores.length), String(tuning.seeds.length), duration(cost(entry)),
      configurationText(tuning, tuning.chosen), number(tuning.scores[tuning.chosen]), number(tuning.scores[tuning.settings.findIndex(isDefault)]),
    ];
  });
  const total = tuned.reduce((sum, entry) => sum + cost(entry), 0);
  const objectives = [...new Set(tuned.map(({ row }) => row.tuning.objective))].join('; ');
  return [
    el('h3', {}, 'Sweep'),
    el('p', { class: 'about' }, `The settings were chosen on seeds of their own, which no result here uses. Score: ${objectives}. Training took ${duration(total)} in all.`),
    wideTable('Sweeps by stream', head, rows, [1, 2, 3, 5, 6]),
    ...tuned.map(sweepDetails),
  ];
}

function sweepDetails({ stream, row: { tuning } }) {
  const title = [`All configurations on ${stream.name} `, el('span', { class: 'faint' }, `${tuning.scores.length} on ${seedsText(tuning.seeds)}`)];
  return opened(title, () => {
    const head = ['', ...tuning.names.map((name) => el('code', {}, name)), 'score', 'each seed', 'training time'];
    const rows = tuning.scores.map((score, i) => [
      i === tuning.chosen ? 'chosen' : '',
      ...tuning.settings[i].map((value) => (value === null ? el('span', { class: 'faint' }, 'default') : settingText(value))),
      number(score), tuning.per_seed[i].map(number).join('\u2002'), duration(tuning.seconds[i]),
    ]);
    const numbers = tuning.names.length + 1;
    const made = wideTable(`Sweep on ${stream.name}`, head, rows, [numbers, numbers + 1, numbers + 2]);
    made.querySelectorAll('tbody tr')[tuning.chosen]?.classList.add('chosen');
    return made;
  });
}

// The default is the configuration that gives no setting.
function isDefault(settings) {
  return settings.every((value) => value === null);
}

function configurationText(tuning, index) {
  const given = tuning.names.map((name, i) => [name, tuning.settings[index][i]]).filter(([, value]) => value !== null);
  return given.length ? given.map(([name, value]) => `${name}=${settingText(value)}`).join(', ') : 'the default';
}

function seedsText(seeds) {
  const run = seeds.every((seed, i) => seed === seeds[0] + i);
  if (seeds.length === 1) return `seed ${seeds[0]}`;
  return `seeds ${run ? `${seeds[0]} to ${seeds.at(-1)}` : seeds.join(', ')}`;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 6000 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
