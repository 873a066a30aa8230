// Types for the page's scripts: the data that page/document.py and page/rows.py write, once `named` in
// state.js has unpacked them, and what the scripts make of them. Not part of the page.

/** A number, or null if it is unknown. */
type Known = number | null;

/** [point, low, high] */
type Interval = [Known, Known, Known];

/** Hyperparameters: name -> value. */
type Settings = Record<string, unknown>;

/** A row against another one, on the seeds of both. */
interface Comparison {
  /** Index of the other method. */
  other: number;
  difference: Interval;
  seeds: number;
  p: Known;
  holm: Known;
  improvement: Interval;
}

interface Citation {
  text: string;
  url: string;
  bibtex: string;
}

interface Method {
  label: string;
  /** The label without "(tuned)". */
  base: string;
  tuned: boolean;
  name: string;
  family: string;
  summary: string;
  task_boundaries: boolean;
  version: number;
  source: string;
  settings: Settings;
  cited: Citation[];
  extra: { code?: string; code_name?: string; link?: string; submitter?: string };
}

/** The sweep that chose a row's settings; lists have an entry per configuration. */
interface Tuning {
  seeds: number[];
  objective: string;
  /** The hyperparameters that it varied. */
  names: string[];
  chosen: number;
  /** A value per name; null: the default. */
  settings: unknown[][];
  scores: Known[];
  per_seed: Known[][];
  seconds: Known[];
}

/** What rows of all tables have. */
interface RankedRow {
  /** Index of the method. */
  method: number;
  rank: Known;
  /** 95% range of its place when seeds are resampled; only with a rank. */
  range?: [number, number];
  /** Why it has no rank. */
  why?: string;
  none?: Comparison;
  reset?: Comparison;
  /** p-value of no plasticity loss. */
  p_loss: Known;
}

/** A method on a stream. */
interface StreamRow extends RankedRow {
  seeds: number[];
  summary: { [metric: string]: Interval; level: Interval };
  /** Metric -> every seed's value, packed or as numbers. */
  values: Record<string, string | Known[]>;
  settings?: Settings;
  /** Address of its records. */
  records?: string;
  tuning?: Tuning;
  streams?: undefined;
}

/** A method over several streams. */
interface AggregateRow extends RankedRow {
  /** On the stream that has the fewest. */
  seeds: number;
  /** `level`: the score over streams. */
  summary: { [metric: string]: Interval | Known | undefined; level: Interval; cost: Known };
  /** Indices of its streams. */
  streams: number[];
  /** Mean of the levels. */
  uncapped: Interval;
  /** [stream, value] */
  lowest: [number, Known];
}

type Row = StreamRow | AggregateRow;

/** The curves of a quantity, as page/curves.py describes them. */
interface Grid {
  width: number;
  tasks: number[];
  low: number;
  step: number;
  /** Per row [mean, below, above], packed. */
  curves: (string[] | null)[];
}

interface Stream {
  name: string;
  summary: string;
  source: string;
  unit: string;
  score: string;
  tasks: number;
  chance: number;
  settings: Settings;
  loses: boolean | null;
  notes: string[];
  /** Quantity -> curves; "performance" is always there. */
  grids: { [quantity: string]: Grid; performance: Grid };
  rows: StreamRow[];
}

/** Rows over several streams. */
interface Aggregate {
  rows: AggregateRow[];
  notes: string[];
}

interface PageData {
  schema: number;
  /** Of a report; null for a leaderboard. */
  runs: {
    folder: string;
    link: string | null;
    cells: number;
    seeds: number;
    unfinished: { stream: string; method: string }[];
  } | null;
  /** Metric -> definition. */
  metrics: Record<string, string>;
  level: number;
  few_seeds: number;
  families: string[];
  methods: Method[];
  suites: Record<string, { summary: string; streams: number[] }>;
  streams: Stream[];
  overall: Aggregate;
  by_suite: Record<string, Aggregate>;
}

/** What an element may contain. */
type Content = Node | string | null | undefined;

/** true: an attribute without a value; false, null and undefined: no attribute; a function: a listener. */
type Attribute = string | number | boolean | null | undefined | ((event: any) => unknown);

/** How a table is sorted: by which column, and whether downwards. */
type Order = { key: string; down: boolean } | null | undefined;

interface Column<R> {
  key: string;
  title: string;
  /** For a screen reader, if the title is empty. */
  name?: string;
  hint?: string;
  /** Set to the right. */
  number?: boolean;
  /** Left out on narrow screens. */
  minor?: boolean;
  /** Names the row. */
  pinned?: boolean;
  /** The title may take several lines. */
  wraps?: boolean;
  /** Sorted upwards at first. */
  ascending?: boolean;
  /** To sort by; without it the column does not sort. */
  value?: (row: R) => string | number | null;
  cell: (row: R) => Content | Content[];
}

/** The low and the high end of an axis. */
type Axis = [number, number];

/** A stream, and a method's row on it. */
interface Found {
  stream: Stream;
  row: StreamRow;
}

/** A stream, and a tuned row on it. */
interface FoundSweep {
  stream: Stream;
  row: StreamRow & { tuning: Tuning };
}

/** The parts of uPlot 1.6 that the page uses. */
declare class uPlot {
  constructor(options: object, data: Known[][], target: HTMLElement);
  data: Known[][];
  cursor: { idx?: number | null };
  height: number;
  over: HTMLElement;
  destroy(): void;
  setSize(size: { width: number; height: number }): void;
  setCursor(place: { left: number; top: number }): void;
  valToPos(value: number, scale: string): number;
}
