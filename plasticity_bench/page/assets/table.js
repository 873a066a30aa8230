// Tables that sort. A column: {title, hint, value(row), cell(row), number, minor, pinned, ascending}.

// The rows in the order of a column: {key, down}; without a value last; equal ones as they came.
function sorted(rows, columns, order) {
  const column = columns.find((one) => one.key === order?.key);
  if (!column) return rows;
  const sign = order.down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [column.value(a), column.value(b)];
    if (left === null || right === null) return (left === null) - (right === null);
    return sign * (typeof left === 'string' ? left.localeCompare(right) : left - right);
  });
}

// `order` is the table's state; `changed` is called with the next one when a heading is pressed.
function table(caption, columns, rows, order, changed, methodOf) {
  const head = columns.map((column) => {
    const here = order?.key === column.key;
    const down = here ? !order.down : !column.ascending;
    const press = () => changed(here && order.down === Boolean(column.ascending) ? null : { key: column.key, down });
    return el(
      'th',
      {
        scope: 'col',
        class: classes(column),
        'aria-sort': here ? (order.down ? 'descending' : 'ascending') : false,
        title: column.hint ?? false,
      },
      column.value && column.title
        ? el('button', { type: 'button', click: press, 'data-key': column.key }, column.title)
        : el('span', { class: 'visually-hidden' }, column.name ?? column.title),
    );
  });
  const body = sorted(rows, columns, order).map((row) => {
    const method = methodOf(row);
    const cells = columns.map((column) => {
      const cell = el(column.pinned ? 'th' : 'td', { class: classes(column), scope: column.pinned ? 'row' : false });
      cell.append(...[column.cell(row)].flat());
      return cell;
    });
    return el(
      'tr',
      { class: method.family === 'references' ? 'reference' : false, 'data-method': method.label },
      ...cells,
    );
  });
  return el(
    'table',
    { click: rowPressed },
    el('caption', { class: 'visually-hidden' }, caption),
    el('thead', {}, el('tr', {}, ...head)),
    el('tbody', {}, ...body),
  );
}

function classes(column) {
  return ['number', 'minor', 'pinned'].filter((name) => column[name]).join(' ') || false;
}

// A press anywhere in a row opens it; what can be pressed by itself, and text being selected, does not.
function rowPressed(event) {
  const row = event.target.closest('tbody tr');
  if (!row || event.target.closest('a, button, input, label') || String(getSelection())) return;
  location.hash = hashOf(row.dataset.method);
}

function hashOf(label) {
  return `#method=${encodeURIComponent(label)}`;
}

// Where there are tuned methods, a mark beside the name says which settings these are; a label with settings
// says so itself.
function methodCell(method) {
  const long = method.base.length > (HAS_TUNED ? 16 : 22) ? ' long' : '';
  const name = el('a', { class: `method${long}`, href: hashOf(method.label), title: method.summary, 'aria-label': method.label }, method.base);
  if (!HAS_TUNED || (!method.tuned && method.base.includes(':'))) return name;
  return [name, el('span', { class: method.tuned ? 'badge tuned' : 'badge' }, method.tuned ? 'tuned' : 'default')];
}

// Rows are ranked among their like: a reference that stands beside rows of the other kind has no rank there.
function rankCell(row, settings = 'all') {
  const { tuned } = DATA.methods[row.method];
  const apart = settings !== 'all' && tuned !== (settings === 'tuned');
  const why = apart ? `ranked among the ${tuned ? 'tuned' : 'default'} rows` : row.why;
  if (apart || row.rank === null) return el('span', { title: why ? `no rank: ${why}` : false }, NONE);
  const hint = row.shared ? 'a rank shared by rows that do not differ significantly from its first' : false;
  return el('span', { title: hint }, String(row.rank), el('span', { class: 'shared' }, row.shared ? '=' : ''));
}

// A difference with its sign, and * where it is significant.
function differenceCell(comparison, withBounds = false) {
  if (!comparison) return el('span', { class: 'faint' }, NONE);
  const [size] = comparison.difference;
  const text = el('span', {}, signed(size), el('span', { class: 'star' }, significant(comparison) ? '*' : ''));
  const cell = el('span', { class: significant(comparison) ? 'significant' : false, title: comparisonText(comparison) }, text);
  if (withBounds) cell.append(el('span', { class: 'faint' }, bounds(comparison.difference)));
  return cell;
}

function significant(comparison) {
  return comparison.p !== null && comparison.p <= DATA.level;
}

function comparisonText({ other, difference, seeds, p, holm, improvement }) {
  const parts = [`difference to ${DATA.methods[other].label} ${signed(difference[0])} ${bounds(difference)}`];
  if (p !== null) parts.push(`p ${pText(p)} for all pairs at once`);
  if (holm !== null) parts.push(`${pText(holm)} by itself, Holm-corrected`);
  if (improvement[0] !== null) parts.push(`probability of a better run ${interval(improvement)}`);
  return `${parts.join('; ')}; ${counted(seeds, 'seed')}`;
}

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

function retainedCell(row, axis) {
  const summary = row.summary.retained_plasticity;
  const text = el('span', {}, el('b', {}, number(summary[0])), el('span', { class: 'faint' }, bounds(summary)));
  return el('div', { class: 'retained' }, axis ? intervalBar(summary, axis) : '', text);
}
