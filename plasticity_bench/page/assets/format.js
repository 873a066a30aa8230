// @ts-check
// Numbers as text, and elements. Text from the data becomes a text node, never markup.

/** @type {Record<string, string>} */
const METRIC_TITLES = {
  level: 'level', retention: 'retention', plasticity_loss: 'plasticity loss', fresh_level: 'fresh level',
  trend: 'trend /100', average_performance: 'average', dormant_fraction: 'dormant',
  effective_rank: 'eff. rank', weight_norm: 'weight norm', cost: 'cost',
};
const NONE = '\u2013';

/**
 * As number in terminal.py: three decimals for small numbers, fewer for large ones.
 * @param {Known | undefined} value
 */
function number(value) {
  if (value === null || value === undefined) return NONE;
  const size = Math.abs(value);
  const text = value.toFixed(size < 10 ? 3 : size < 1000 ? 1 : 0);
  return (Number(text) === 0 ? text.replace('-', '') : text).replace('-', '\u2212');
}

/** @param {Known} value */
function signed(value) {
  const text = number(value);
  return value !== null && value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** @param {Known} p */
function pText(p) {
  if (p === null) return NONE;
  return p < 0.001 ? '<0.001' : p.toFixed(3);
}

/**
 * @param {number} count
 * @param {string} name
 */
function counted(count, name) {
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

/** @param {Interval} summary */
function bounds([, low, high]) {
  return low === null ? '' : `[${number(low)}, ${number(high)}]`;
}

/** @param {Interval} summary */
function interval(summary) {
  return `${number(summary[0])} ${bounds(summary)}`.trim();
}

/**
 * @param {string} name
 * @param {Known | undefined} value
 */
function metricText(name, value) {
  if (value === null || value === undefined) return NONE;
  if (name === 'effective_rank') return value.toFixed(1);
  return name === 'cost' ? `${value.toFixed(2)}\u00d7` : number(value);
}

// Whole numbers as packing.py packs them: Base64 VLQ of differences, null for a dot.
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const DIGIT = new Map([...DIGITS].map((digit, value) => [digit, value]));
const PER_ONE = 1000;

/**
 * @param {string} text
 * @returns {Known[]}
 */
function unpacked(text) {
  const found = [];
  let last = 0, code = 0, shift = 0;
  for (const character of text) {
    if (character === '.') {
      found.push(null);
      continue;
    }
    const digit = DIGIT.get(character) ?? 0;
    code += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    last += code & 1 ? -(code >> 1) : code >> 1;
    found.push(last);
    code = shift = 0;
  }
  return found;
}

/**
 * A metric's value for every seed.
 * @param {StreamRow} row
 * @param {string} name
 * @returns {Known[]}
 */
function seedValues(row, name) {
  const values = row.values[name];
  if (typeof values !== 'string') return values;
  return unpacked(values).map((whole) => (whole === null ? null : whole / PER_ONE));
}

/**
 * Over streams: of the stream that has the fewest.
 * @param {Row} row
 */
function seedCount({ seeds }) {
  return typeof seeds === 'number' ? seeds : seeds.length;
}

/** @param {string} name */
function words(name) {
  return name.replaceAll('_', ' ');
}

/**
 * The estimate of a metric, which comes with its interval or alone.
 * @param {Row} row
 * @param {string} name
 * @returns {Known}
 */
function point(row, name) {
  const value = row.summary[name];
  return Array.isArray(value) ? value[0] : value ?? null;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, Attribute>} attributes
 * @param {Content[]} children
 */
function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, Attribute>} attributes
 * @param {Content[]} children
 */
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

/**
 * @template {Element} E
 * @param {E} node
 * @param {Record<string, Attribute>} attributes
 * @param {Content[]} children
 */
function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) {
      node.setAttribute(name, String(value));
    }
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== '') node.append(child);
  }
  return node;
}

/**
 * The element of the template with this id.
 * @param {string} id
 */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * The same, for an input or a select.
 * @param {string} id
 */
function control(id) {
  return /** @type {HTMLInputElement | HTMLSelectElement} */ (byId(id));
}

/**
 * Text in which what stands between backticks is set as code.
 * @param {string} text
 */
function marked(text) {
  return text.split('`').map((part, index) => (index % 2 ? el('code', {}, part) : part));
}

/**
 * A link, or its bare text if the address is not safe to follow: javascript:, data:, and, from a page on
 * disk, files on another machine.
 * @param {string} address
 * @param {string} text
 */
function link(address, text) {
  let sound = false;
  try {
    const { protocol, host } = new URL(address, location.href);
    const own = protocol === location.protocol && host === location.host;
    sound = ['http:', 'https:'].includes(protocol) || own;
  } catch { /* not an address */ }
  return sound ? el('a', { href: address, rel: 'noopener noreferrer' }, text) : el('span', {}, text);
}

/**
 * A point with its interval on an axis; what lies outside is drawn at the edge.
 * @param {Interval} summary
 * @param {Axis} axis
 */
function intervalBar([value, from, to], [low, high]) {
  const width = 100;
  const share = (/** @type {number} */ v) => Math.min(Math.max((v - low) / (high - low), 0), 1);
  const x = (/** @type {number} */ v) => (share(v) * width).toFixed(2);
  const size = { viewBox: `0 0 ${width} 12`, preserveAspectRatio: 'none' };
  const drawing = svg('svg', { class: 'interval-bar', ...size, 'aria-hidden': 'true' });
  /** @type {(name: string, a: number, b: number, y1: number, y2: number) => SVGElement} */
  const line = (name, a, b, y1, y2) =>
    svg('line', { class: name, x1: x(a), x2: x(b), y1, y2, 'vector-effect': 'non-scaling-stroke' });
  if (low <= 1 && 1 <= high) drawing.append(line('one', 1, 1, 0, 12));
  if (value === null) return drawing;
  if (from !== null && to !== null) drawing.append(line('span', from, to, 6, 6));
  // A line of no length with round ends: a dot that stays round when the drawing is stretched.
  drawing.append(line('dot', value, value, 6, 6));
  if (from === null) drawing.append(line('hole', value, value, 6, 6));
  return drawing;
}

/**
 * The axis for these intervals: it holds all of them and 1, as far as they lie in [-0.5, 2]. A few values
 * far outside would make all others too small.
 * @param {Interval[]} summaries
 * @returns {Axis}
 */
function axisOf(summaries) {
  const values = /** @type {number[]} */ (summaries.flat().filter((value) => value !== null));
  const low = Math.min(1, ...values), high = Math.max(1, ...values);
  const from = Math.max(low, -0.5), to = Math.min(high, 2);
  const room = (to - from || 1) * 0.04;
  return [from - room, to + room];
}
