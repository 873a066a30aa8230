// @ts-check
// Tables that sort.

/**
 * The rows in the order of a column: rows without a value last, equal ones in their order.
 * @template {Row} R
 * @param {R[]} rows
 * @param {Column<R>[]} columns
 * @param {Order} order
 */
function sorted(rows, columns, order) {
  const value = columns.find((column) => column.key === order?.key)?.value;
  if (!order || !value) return rows;
  const sign = order.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left === null || right === null) return Number(left === null) - Number(right === null);
    if (typeof left === 'string') return sign * left.localeCompare(String(right));
    return sign * (left - Number(right));
  });
}

/**
 * `changed` is called with the next order when a heading is pressed.
 * @template {Row} R
 * @param {string} caption
 * @param {Column<R>[]} columns
 * @param {R[]} rows
 * @param {Order} order
 * @param {(order: Order) => void} changed
 */
function table(caption, columns, rows, order, changed) {
  const head = columns.map((column) => heading(column, order, changed));
  const body = sorted(rows, columns, order).map((row) => {
    const method = methodOf(row);
    const cells = columns.map((column) => {
      const attributes = { class: classes(column), scope: column.pinned ? 'row' : false };
      return el(column.pinned ? 'th' : 'td', attributes, ...[column.cell(row)].flat());
    });
    const kind = method.family === 'references' ? 'reference' : false;
    return el('tr', { class: kind, 'data-method': method.label }, ...cells);
  });
  return el(
    'table',
    { click: rowPressed },
    el('caption', { class: 'visually-hidden' }, caption),
    el('thead', {}, el('tr', {}, ...head)),
    el('tbody', {}, ...body),
  );
}

/**
 * @template {Row} R
 * @param {Column<R>} column
 * @param {Order} order
 * @param {(order: Order) => void} changed
 */
function heading(column, order, changed) {
  const here = order?.key === column.key;
  const down = here ? !order?.down : !column.ascending;
  const last = here && order?.down === Boolean(column.ascending);
  const press = () => changed(last ? null : { key: column.key, down });
  const direction = here ? (order?.down ? 'descending' : 'ascending') : false;
  return el(
    'th',
    { scope: 'col', class: classes(column), 'aria-sort': direction, title: column.hint ?? false },
    column.value && column.title
      ? el('button', { type: 'button', click: press, 'data-key': column.key }, column.title)
      : el('span', { class: 'visually-hidden' }, column.name ?? column.title),
  );
}

/** @param {Column<any>} column */
function classes({ number, minor, pinned, wraps }) {
  const named = Object.entries({ number, minor, pinned, wraps }).filter(([, on]) => on);
  return named.map(([name]) => name).join(' ') || false;
}

/**
 * A press anywhere in a row opens it, but not on an element that can be pressed, and not to select text.
 * @param {MouseEvent} event
 */
function rowPressed(event) {
  const target = /** @type {Element} */ (event.target);
  const row = /** @type {HTMLElement | null} */ (target.closest('tbody tr'));
  if (!row || target.closest('a, button, input, label') || String(getSelection())) return;
  location.hash = hashOf(row.dataset.method ?? '');
}

/** @param {string} label */
function hashOf(label) {
  return `#method=${encodeURIComponent(label)}`;
}

/**
 * If there are tuned methods, a mark next to the name shows which settings these are. A label with settings
 * needs none.
 * @param {Method} method
 */
function methodCell(method) {
  const long = method.base.length > (HAS_TUNED ? 16 : 22) ? ' long' : '';
  const address = { href: hashOf(method.label), title: method.summary, 'aria-label': method.label };
  const name = el('a', { class: `method${long}`, ...address }, method.base);
  if (!HAS_TUNED || (!method.tuned && method.base.includes(':'))) return name;
  const kind = method.tuned ? 'tuned' : 'default';
  return [name, el('span', { class: method.tuned ? 'badge tuned' : 'badge' }, kind)];
}

/**
 * Tuned and default rows are ranked apart: a reference that is shown with rows of the other kind has no rank
 * there.
 * @param {Row} row
 */
function rankCell(row, settings = 'all') {
  const { tuned } = DATA.methods[row.method];
  const apart = settings !== 'all' && tuned !== (settings === 'tuned');
  const why = apart ? `ranked among the ${tuned ? 'tuned' : 'default'} rows` : row.why;
  if (apart || row.rank === null) return el('span', { title: why ? `no rank: ${why}` : false }, NONE);
  const [from, to] = row.range ?? [row.rank, row.rank];
  const hint = `1 + number of rows significantly above; place ${from} to ${to} in 95% of resamples`;
  const range = el('span', { class: 'range' }, from === to ? String(from) : `${from}\u2013${to}`);
  return el('span', { title: hint }, String(row.rank), ' ', range);
}

/**
 * A difference with its sign, and * if it is significant.
 * @param {Comparison | undefined} comparison
 */
function differenceCell(comparison, withBounds = false) {
  if (!comparison) return el('span', { class: 'faint' }, NONE);
  const star = el('span', { class: 'star' }, significant(comparison) ? '*' : '');
  const text = el('span', {}, signed(comparison.difference[0]), star);
  const kind = significant(comparison) ? 'significant' : false;
  const cell = el('span', { class: kind, title: comparisonText(comparison) }, text);
  if (withBounds) cell.append(el('span', { class: 'faint' }, bounds(comparison.difference)));
  return cell;
}

/** @param {Comparison} comparison */
function significant(comparison) {
  return comparison.p !== null && comparison.p <= DATA.level;
}

/** @param {Comparison} comparison */
function comparisonText({ other, difference, seeds, p, holm, improvement }) {
  const size = `${signed(difference[0])} ${bounds(difference)}`;
  const parts = [`difference to ${DATA.methods[other].label} ${size}`];
  if (p !== null) parts.push(`p ${pText(p)} for all pairs at once`);
  if (holm !== null) parts.push(`${pText(holm)} by itself, Holm-corrected`);
  if (improvement[0] !== null) parts.push(`probability of a better run ${interval(improvement)}`);
  return `${parts.join('; ')}; ${counted(seeds, 'seed')}`;
}

/** @param {Method} method */
function showCell(method) {
  const box = el('input', {
    type: 'checkbox',
    'aria-label': `Show ${method.label} in the chart`,
    'data-show': method.label,
    change: (event) => choose(method.label, event.target.checked),
  });
  box.checked = state.chosen.has(method.label);
  if (box.checked) box.style.accentColor = `var(${colour(method.label)})`;
  return box;
}

/**
 * @param {Row} row
 * @param {Axis | null} axis
 */
function levelCell(row, axis) {
  const summary = row.summary.level;
  const between = el('span', { class: 'faint' }, bounds(summary));
  const text = el('span', {}, el('b', {}, number(summary[0])), between);
  return el('div', { class: 'scored' }, axis ? intervalBar(summary, axis) : '', text);
}
