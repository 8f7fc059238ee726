// Charts, drawn as SVG. Each is an image with a name that says what it shows, and has its numbers in a table beside it.

import { fresh, h, svg, table } from './dom.js';
import { amount, clock, count, day, duration, tone, words } from './format.js';

const WIDTH = 640;
const HEIGHT = 180;
const MARGIN = { left: 52, right: 8, top: 12, bottom: 22 };
const DAY_MS = 86_400_000;
/** So high is a bar at least. */
const SEEN_MIN = 2;

/** Into so many parts a chart divides its window. */
export const BUCKETS = 24;

/** The executions of a window, as bars by time and outcome. `metrics` are those of an agent, with their buckets. */
export function outcomeChart({ window, outcomes, running, buckets }) {
  const kinds = ['completed', 'handed_off', 'running', 'cancelled', 'failed', 'lost'];
  const all = { ...outcomes, running };
  const parts = buckets.map((bucket) => ({ fromMs: bucket.from_ms, by: { ...bucket.outcomes, running: bucket.running }, total: bucket.count + bucket.running }));
  const most = Math.max(1, ...parts.map((part) => part.total));
  const y = scale(most);
  const at = moments(window);
  const width = (WIDTH - MARGIN.left - MARGIN.right) / parts.length;
  const bars = parts.flatMap((part, place) => {
    let top = y(0);
    return kinds.filter((kind) => part.by[kind] > 0).map((kind) => {
      // One failure among thousands is seen as well.
      const height = Math.max(SEEN_MIN, y(0) - y(part.by[kind]));
      top -= height;
      return svg('rect', {
        class: `fill ${barTone(kind)}`,
        x: MARGIN.left + place * width + 1,
        y: top,
        width: Math.max(1, width - 2),
        height,
      }, svg('title', {}, `${at(part.fromMs)}: ${part.by[kind]} ${words(kind)}`));
    });
  });
  const shown = kinds.filter((kind) => all[kind] > 0);
  const name = `Executions by time and outcome: ${shown.map((kind) => `${count(all[kind])} ${words(kind)}`).join(', ') || 'none'}.`;
  const rows = parts.filter((part) => part.total > 0).map((part) => [at(part.fromMs), ...shown.map((kind) => count(part.by[kind]))]);
  return figure('Outcomes', name, [axes(window, y, most, count), bars], h('ul', { class: 'legend' }, shown.map((kind) => h('li', { class: barTone(kind) }, words(kind)))),
    table('Executions by time and outcome', ['From', ...shown.map((kind) => ({ title: words(kind), numeric: true }))], rows, 'No executions in this time.'));
}

/** How long those took that ended: their percentiles by time, as lines. */
export function latencyChart({ window, count: ended, duration_ms: whole, buckets }) {
  const parts = buckets.map((bucket) => ({ fromMs: bucket.from_ms, ended: bucket.count, ...bucket.duration_ms }));
  const most = nice(Math.max(1, ...parts.map((part) => part.p99 ?? 0)));
  const y = scale(most);
  const at = moments(window);
  const middle = (place) => MARGIN.left + ((place + 0.5) / parts.length) * (WIDTH - MARGIN.left - MARGIN.right);
  const lines = ['p99', 'p95', 'p50'].map((level) => {
    const known = parts.map((part, place) => ({ ...part, place })).filter((part) => part.ended > 0);
    const path = known.map((part, order) => `${order > 0 && known[order - 1].place === part.place - 1 ? 'L' : 'M'}${middle(part.place)} ${y(part[level])}`).join('');
    return [
      svg('path', { class: `level ${level}`, d: path }),
      known.map((part) => svg('circle', { class: `dot ${level}`, cx: middle(part.place), cy: y(part[level]), r: 3 },
        svg('title', {}, `${at(part.fromMs)}: ${level} ${duration(part[level])}`))),
    ];
  });
  const told = ['p50', 'p95', 'p99'].filter((level) => typeof whole[level] === 'number');
  const name = `Latency of ${amount(ended, 'execution')}${told.length ? `: ${told.map((level) => `${level} ${duration(whole[level])}`).join(', ')}` : ''}.`;
  const rows = parts.filter((part) => part.ended > 0).map((part) => [at(part.fromMs), count(part.ended), duration(part.p50), duration(part.p95), duration(part.p99)]);
  return figure('Latency', name, [axes(window, y, most, duration), lines],
    h('ul', { class: 'legend' }, told.map((level) => h('li', { class: level }, `${level} ${duration(whole[level])}`))),
    table('Latency by time', ['From', { title: 'Executions', numeric: true }, ...['p50', 'p95', 'p99'].map((level) => ({ title: level, numeric: true }))], rows, 'No executions in this time.'));
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
  const told = window.to_ms - window.from_ms > DAY_MS ? day : (atMs) => clock(atMs).slice(0, 5);
  return svg('g', { class: 'axes', 'aria-hidden': 'true' },
    levels.map((level) => [
      svg('line', { x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y(level), y2: y(level) }),
      svg('text', { x: MARGIN.left - 6, y: y(level) + 4, 'text-anchor': 'end' }, text(level)),
    ]),
    times.map((atMs, place) => svg('text', {
      x: MARGIN.left + (place / (times.length - 1)) * (WIDTH - MARGIN.left - MARGIN.right),
      y: HEIGHT - 6,
      'text-anchor': place === 0 ? 'start' : place === times.length - 1 ? 'end' : 'middle',
    }, told(atMs))));
}

function scale(most) {
  return (value) => HEIGHT - MARGIN.bottom - (value / most) * (HEIGHT - MARGIN.bottom - MARGIN.top);
}

/** How moments of a window are told: with their day, where it has several. */
function moments(window) {
  return window.to_ms - window.from_ms > DAY_MS ? (atMs) => `${day(atMs)}, ${clock(atMs).slice(0, 5)}` : clock;
}

/** The next number that people count to: 1, 2 or 5 times a power of ten. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
