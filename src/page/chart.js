// Charts, drawn as SVG. Each is an image with a name that says what it shows, and has its numbers in a table beside it.

import { fresh, h, svg, table } from './dom.js';
import { clock, count, duration, tone, words } from './format.js';

const WIDTH = 640;
const HEIGHT = 180;
const MARGIN = { left: 52, right: 8, top: 10, bottom: 22 };
const BUCKETS = 24;

/** Executions in a window, as bars by time and outcome. */
export function outcomeChart(executions, window) {
  const kinds = ['completed', 'handed_off', 'running', 'cancelled', 'failed', 'lost'];
  const buckets = bucketsOf(executions, window).map((own) => {
    const by = Object.fromEntries(kinds.map((kind) => [kind, 0]));
    for (const execution of own.executions) by[execution.outcome ?? 'running'] += 1;
    return { ...own, by };
  });
  const most = Math.max(1, ...buckets.map((bucket) => bucket.executions.length));
  const y = scale(most);
  const width = (WIDTH - MARGIN.left - MARGIN.right) / BUCKETS;
  const bars = buckets.flatMap((bucket, place) => {
    let below = 0;
    return kinds.filter((kind) => bucket.by[kind] > 0).map((kind) => {
      const top = y(below + bucket.by[kind]);
      const bar = svg('rect', {
        class: `fill ${barTone(kind)}`,
        x: MARGIN.left + place * width + 1,
        y: top,
        width: Math.max(1, width - 2),
        height: y(below) - top,
      }, svg('title', {}, `${clock(bucket.fromMs)}: ${bucket.by[kind]} ${words(kind)}`));
      below += bucket.by[kind];
      return bar;
    });
  });
  const shown = kinds.filter((kind) => executions.some((execution) => (execution.outcome ?? 'running') === kind));
  const name = `Executions by time and outcome: ${shown.map((kind) => `${count(executions.filter((one) => (one.outcome ?? 'running') === kind).length)} ${words(kind)}`).join(', ') || 'none'}.`;
  const rows = buckets.filter((bucket) => bucket.executions.length > 0).map((bucket) => [clock(bucket.fromMs), ...shown.map((kind) => count(bucket.by[kind]))]);
  return figure('Outcomes', name, [axes(window, y, most, count), bars], h('ul', { class: 'legend' }, shown.map((kind) => h('li', { class: barTone(kind) }, words(kind)))),
    table('Executions by time and outcome', ['From', ...shown.map((kind) => ({ title: words(kind), numeric: true }))], rows, 'No executions in this time.'));
}

/** How long executions took, as points by time, with their percentiles as lines. */
export function latencyChart(executions, window, percentiles) {
  const ended = executions.filter((execution) => execution.duration_ms !== undefined && execution.duration_ms !== null);
  const most = nice(Math.max(1, ...ended.map((execution) => execution.duration_ms)));
  const y = scale(most);
  const x = across(window);
  const points = ended.map((execution) => svg('circle', {
    class: `fill ${barTone(execution.outcome)}`, cx: x(execution.started_at_ms), cy: y(execution.duration_ms), r: 3,
  }, svg('title', {}, `${clock(execution.started_at_ms)}: ${duration(execution.duration_ms)}, ${words(execution.outcome)}`)));
  const lines = Object.entries(percentiles ?? {}).filter(([, value]) => typeof value === 'number' && value <= most).map(([name, value]) =>
    svg('line', { class: `level ${name}`, x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y(value), y2: y(value) },
      svg('title', {}, `${name}: ${duration(value)}`)));
  const told = ['p50', 'p95', 'p99'].map((name) => [name, percentiles?.[name]]).filter(([, value]) => typeof value === 'number');
  const name = `Latency of ${count(ended.length)} executions${told.length ? `: ${told.map(([own, value]) => `${own} ${duration(value)}`).join(', ')}` : ''}.`;
  const rows = bucketsOf(ended, window).filter((bucket) => bucket.executions.length > 0).map((bucket) => {
    const times = bucket.executions.map((execution) => execution.duration_ms).sort((a, b) => a - b);
    return [clock(bucket.fromMs), count(times.length), duration(times[Math.floor((times.length - 1) / 2)]), duration(times.at(-1))];
  });
  return figure('Latency', name, [axes(window, y, most, duration), lines, points],
    h('ul', { class: 'legend' }, told.map(([own, value]) => h('li', { class: own }, `${own} ${duration(value)}`))),
    table('Latency by time', ['From', { title: 'Executions', numeric: true }, { title: 'Median', numeric: true }, { title: 'Longest', numeric: true }], rows, 'No executions in this time.'));
}

function barTone(outcome) {
  return outcome === 'handed_off' ? 'second' : outcome === 'lost' ? 'bad' : tone(outcome);
}

function figure(title, name, drawn, legend, numbers) {
  const id = fresh('chart');
  return h('figure', {},
    h('figcaption', {}, h('span', {}, title), legend),
    svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-labelledby': id }, svg('title', { id }, name), drawn),
    h('details', {}, h('summary', {}, `${title} in numbers`), numbers));
}

function axes(window, y, most, text) {
  const levels = [0, most / 2, most].filter((level) => text !== count || Number.isInteger(level));
  const times = [0, 0.25, 0.5, 0.75, 1].map((part) => window.from_ms + (window.to_ms - window.from_ms) * part);
  const x = across(window);
  return svg('g', { class: 'axes', 'aria-hidden': 'true' },
    levels.map((level) => [
      svg('line', { x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y(level), y2: y(level) }),
      svg('text', { x: MARGIN.left - 6, y: y(level) + 4, 'text-anchor': 'end' }, text(level)),
    ]),
    times.map((atMs, place) => svg('text', {
      x: x(atMs), y: HEIGHT - 6, 'text-anchor': place === 0 ? 'start' : place === 4 ? 'end' : 'middle',
    }, clock(atMs).slice(0, 5))));
}

function scale(most) {
  return (value) => HEIGHT - MARGIN.bottom - (value / most) * (HEIGHT - MARGIN.bottom - MARGIN.top);
}

function across(window) {
  const span = window.to_ms - window.from_ms;
  return (atMs) => MARGIN.left + ((atMs - window.from_ms) / span) * (WIDTH - MARGIN.left - MARGIN.right);
}

function bucketsOf(executions, window) {
  const spanMs = (window.to_ms - window.from_ms) / BUCKETS;
  return Array.from({ length: BUCKETS }, (_, place) => {
    const fromMs = window.from_ms + place * spanMs;
    const within = ({ started_at_ms: atMs }) => atMs >= fromMs && (atMs < fromMs + spanMs || place === BUCKETS - 1);
    return { fromMs, executions: executions.filter(within) };
  });
}

/** The next number that people count to: 1, 2 or 5 times a power of ten. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
