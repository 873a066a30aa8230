// Numbers as text, and elements. Text from the data becomes a text node, never markup.

const METRIC_TITLES = {
  retained_plasticity: 'retained plasticity', plasticity_loss: 'loss', trend: 'trend /100',
  average_performance: 'average', fresh_gap: 'fresh gap', dormant_fraction: 'dormant',
  effective_rank: 'eff. rank', weight_norm: 'weight norm', cost: 'cost',
};
const NONE = '\u2013';

// As report.number: three decimals for small numbers, fewer for large ones.
function number(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  const text = value.toFixed(size < 10 ? 3 : size < 1000 ? 1 : 0);
  return (Number(text) === 0 ? text.replace('-', '') : text).replace('-', '\u2212');
}

function signed(value) {
  const text = number(value);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

function pText(p) {
  if (p === null) return NONE;
  return p < 0.001 ? '<0.001' : p.toFixed(3);
}

function counted(count, name) {
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

function bounds([, low, high]) {
  return low === null ? '' : `[${number(low)}, ${number(high)}]`;
}

function interval(summary) {
  return `${number(summary[0])} ${bounds(summary)}`.trim();
}

function metricText(name, value) {
  if (value === null || value === undefined) return NONE;
  if (name === 'effective_rank') return value.toFixed(1);
  return name === 'cost' ? `${value.toFixed(2)}\u00d7` : number(value);
}

// Whole numbers as page_packing.py packs them: Base64 VLQ of differences, null for a dot.
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const DIGIT = new Map([...DIGITS].map((digit, value) => [digit, value]));
const PER_ONE = 1000;

function unpacked(text) {
  const found = [];
  let last = 0, code = 0, shift = 0;
  for (const character of text) {
    if (character === '.') {
      found.push(null);
      continue;
    }
    const digit = DIGIT.get(character);
    code += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    last += code & 1 ? -(code >> 1) : code >> 1;
    found.push(last);
    code = shift = 0;
  }
  return found;
}

// A metric's value for every seed.
function seedValues(row, name) {
  const values = row.values[name];
  return typeof values === 'string' ? unpacked(values).map((whole) => (whole === null ? null : whole / PER_ONE)) : values;
}

function words(name) {
  return name.replaceAll('_', ' ');
}

// The interquartile mean of a metric, whether it comes with its interval or alone.
function point(row, name) {
  const value = row.summary[name];
  return Array.isArray(value) ? value[0] : value ?? null;
}

function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== ''));
  return node;
}

function byId(id) {
  return document.getElementById(id);
}

// Text with `names` between backticks set as code.
function marked(text) {
  return text.split('`').map((part, index) => (index % 2 ? el('code', {}, part) : part));
}

// A link, or its bare text where the address is not one to follow: javascript:, data:, and from a page on
// disk what another machine offers as files.
function link(address, text) {
  let sound = false;
  try {
    const { protocol, host } = new URL(address, location.href);
    sound = ['http:', 'https:'].includes(protocol) || (protocol === location.protocol && host === location.host);
  } catch { /* no address at all */ }
  return sound ? el('a', { href: address, rel: 'noopener noreferrer' }, text) : el('span', {}, text);
}

// A point with its interval on the axis [low, high]; what lies outside ends at its edge.
function intervalBar([value, from, to], [low, high]) {
  const width = 100;
  const x = (v) => (Math.min(Math.max((v - low) / (high - low), 0), 1) * width).toFixed(2);
  const drawing = svg('svg', { class: 'interval-bar', viewBox: `0 0 ${width} 12`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  const line = (name, a, b, y1, y2) =>
    svg('line', { class: name, x1: x(a), x2: x(b), y1, y2, 'vector-effect': 'non-scaling-stroke' });
  if (low <= 1 && 1 <= high) drawing.append(line('one', 1, 1, 0, 12));
  if (value === null) return drawing;
  if (from !== null) drawing.append(line('span', from, to, 6, 6));
  // A line of no length with round ends: a dot that the drawing's stretching leaves round.
  drawing.append(line('dot', value, value, 6, 6));
  if (from === null) drawing.append(line('hole', value, value, 6, 6));
  return drawing;
}

// The axis for these intervals: all of them and 1, as far as they lie in [-0.5, 2]; a few wild ones would
// press all others together.
function axisOf(summaries) {
  const values = summaries.flat().filter((value) => value !== null);
  const low = Math.min(1, ...values), high = Math.max(1, ...values);
  const from = Math.max(low, -0.5), to = Math.min(high, 2);
  const room = (to - from || 1) * 0.04;
  return [from - room, to + room];
}
