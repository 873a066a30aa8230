// @ts-check
// Hyperparameters, by stream if they differ, and the sweeps that chose them.

/**
 * @param {Method} method
 * @param {Found[]} found
 */
function hyperparameters(method, found) {
  const own = found.map(({ stream, row }) => ({ stream, settings: row.settings ?? method.settings }));
  const names = [...new Set(own.flatMap(({ settings }) => Object.keys(settings)))];
  const values = (/** @type {string} */ name) => own.map(({ settings }) => JSON.stringify(settings[name]));
  const differ = names.filter((name) => new Set(values(name)).size > 1);
  const common = names.filter((name) => !differ.includes(name));
  const terms = common.map((name) => [el('code', {}, name), settingText(own[0].settings[name])]);
  const head = ['stream', ...differ.map((name) => el('code', {}, name))];
  const rows = own.map(({ stream, settings }) => [
    stream.name, ...differ.map((name) => ownOrStreams(stream, settings, name)),
  ]);
  return [
    el('h3', {}, 'Hyperparameters'),
    ...(common.length ? [pairs(terms)] : []),
    ...(differ.length ? [wideTable('Hyperparameters by stream', head, rows)] : []),
    ...(names.length ? [] : [el('p', { class: 'about' }, 'It has none.')]),
  ];
}

/**
 * If no setting gives a learning rate, it is the stream's.
 * @param {Stream} stream
 * @param {Settings} settings
 * @param {string} name
 */
function ownOrStreams(stream, settings, name) {
  if (name in settings) return settingText(settings[name]);
  const usual = name === 'lr' ? stream.settings.lr : undefined;
  if (usual === undefined) return NONE;
  return el('span', { class: 'faint' }, `the stream\u2019s ${settingText(usual)}`);
}

/** @param {unknown} value */
function settingText(value) {
  return typeof value === 'string' ? value : JSON.stringify(value) ?? NONE;
}

/** @param {Found[]} found */
function sweeps(found) {
  const tuned = /** @type {FoundSweep[]} */ (found.filter(({ row }) => row.tuning));
  if (!tuned.length) return [];
  const head = [
    'stream', 'configurations', 'tuning seeds', 'training time', 'chosen', 'its score',
    'score of the default',
  ];
  const rows = tuned.map(({ stream, row: { tuning } }) => [
    stream.name,
    String(tuning.scores.length),
    String(tuning.seeds.length),
    duration(trainingTime(tuning)),
    configurationText(tuning, tuning.chosen),
    number(tuning.scores[tuning.chosen]),
    number(tuning.scores[tuning.settings.findIndex(isDefault)]),
  ]);
  const total = tuned.reduce((sum, { row }) => sum + trainingTime(row.tuning), 0);
  const objectives = [...new Set(tuned.map(({ row }) => row.tuning.objective))].join('; ');
  const about = 'The settings were chosen on separate seeds, which no result here uses. ' +
    `Score: ${objectives}. Training took ${duration(total)} in all.`;
  return [
    el('h3', {}, 'Sweep'),
    el('p', { class: 'about' }, about),
    wideTable('Sweeps by stream', head, rows, [1, 2, 3, 5, 6]),
    ...tuned.map(sweepDetails),
  ];
}

/** @param {Tuning} tuning */
function trainingTime(tuning) {
  return tuning.seconds.reduce((/** @type {number} */ sum, seconds) => sum + (seconds ?? 0), 0);
}

/** @param {FoundSweep} found */
function sweepDetails({ stream, row: { tuning } }) {
  const count = `${tuning.scores.length} on ${seedsText(tuning.seeds)}`;
  const title = [`All configurations on ${stream.name} `, el('span', { class: 'faint' }, count)];
  return opened(title, () => {
    const names = tuning.names.map((name) => el('code', {}, name));
    const head = ['', ...names, 'score', 'each seed', 'training time'];
    const rows = tuning.scores.map((score, i) => [
      i === tuning.chosen ? 'chosen' : '',
      ...tuning.settings[i].map((value) =>
        (value === null ? el('span', { class: 'faint' }, 'default') : settingText(value))),
      number(score),
      tuning.per_seed[i].map(number).join('\u2002'),
      duration(tuning.seconds[i]),
    ]);
    const numbers = tuning.names.length + 1;
    const made = wideTable(`Sweep on ${stream.name}`, head, rows, [numbers, numbers + 1, numbers + 2]);
    made.querySelectorAll('tbody tr')[tuning.chosen]?.classList.add('chosen');
    return made;
  });
}

/**
 * The default configuration gives no setting.
 * @param {unknown[]} settings
 */
function isDefault(settings) {
  return settings.every((value) => value === null);
}

/**
 * @param {Tuning} tuning
 * @param {number} index
 */
function configurationText(tuning, index) {
  const given = tuning.names
    .map((name, i) => ({ name, value: tuning.settings[index][i] }))
    .filter(({ value }) => value !== null);
  return given.map(({ name, value }) => `${name}=${settingText(value)}`).join(', ') || 'the default';
}

/** @param {number[]} seeds */
function seedsText(seeds) {
  if (seeds.length === 1) return `seed ${seeds[0]}`;
  const consecutive = seeds.every((seed, i) => seed === seeds[0] + i);
  return `seeds ${consecutive ? `${seeds[0]} to ${seeds.at(-1)}` : seeds.join(', ')}`;
}

/** @param {Known | undefined} seconds */
function duration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 6000 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
