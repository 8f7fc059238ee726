// A run in time: executions as bars, the state's versions and handoffs as marks below them.

import { fresh, h, svg, table } from './dom.js';
import { amount, bytes, clock, duration, moment, tone, words } from './format.js';

const WIDTH = 960;
const LEFT = 190;
const RIGHT = 84;
const ROW = 26;
const HEAD = 24;

/** The timeline. `executions`, `versions` and `handoffs` are those of one run, in their messages' words. */
export function timeline({ executions, versions, handoffs }, nowMs) {
  const ends = (execution) => execution.started_at_ms + (execution.duration_ms ?? Math.max(0, nowMs - execution.started_at_ms));
  const moments = [
    ...executions.flatMap((execution) => [execution.started_at_ms, ends(execution)]),
    ...versions.map((version) => version.written_at_ms),
    ...handoffs.map((handoff) => handoff.at_ms),
  ];
  if (moments.length === 0) return h('p', { class: 'empty' }, 'Nothing of this run is known yet.');
  const fromMs = Math.min(...moments);
  const spanMs = Math.max(1, Math.max(...moments) - fromMs);
  const x = (atMs) => LEFT + ((atMs - fromMs) / spanMs) * (WIDTH - LEFT - RIGHT);
  const ordered = [...executions].sort((a, b) => a.started_at_ms - b.started_at_ms);
  const marks = [
    ...(versions.length > 0 ? [{ name: 'State', kind: 'state', at: versions.map((version) => [version.written_at_ms, `version ${version.version} by ${version.by}`]) }] : []),
    ...(handoffs.length > 0 ? [{ name: 'Handoffs', kind: 'handoff', at: handoffs.map((handoff) => [handoff.at_ms, `${handoff.from} to ${handoff.agent}`]) }] : []),
  ];
  const height = HEAD + (ordered.length + marks.length) * ROW + 6;
  const label = (place, text) => svg('text', { x: 0, y: HEAD + place * ROW + 17, class: 'name' }, shortened(text), svg('title', {}, text));
  const bars = ordered.map((execution, place) => {
    const begin = x(execution.started_at_ms);
    const end = x(ends(execution));
    const told = `${execution.step} by ${execution.agent}: ${words(execution.outcome ?? 'running')}, ${duration(ends(execution) - execution.started_at_ms)}`;
    return svg('g', {},
      label(place, `${execution.agent} · ${execution.step}`),
      svg('rect', { class: `fill ${tone(execution.outcome)}`, x: begin, y: HEAD + place * ROW + 5, width: Math.max(3, end - begin), height: ROW - 10, rx: 3 }, svg('title', {}, told)),
      svg('text', { x: Math.max(begin + 3, end) + 6, y: HEAD + place * ROW + 17, class: 'length' }, duration(ends(execution) - execution.started_at_ms)));
  });
  const rows = marks.map((mark, place) => svg('g', {},
    label(ordered.length + place, mark.name),
    mark.at.map(([atMs, told]) => svg('path', {
      class: `mark ${mark.kind}`, d: diamond(x(atMs), HEAD + (ordered.length + place) * ROW + 13),
    }, svg('title', {}, told)))));
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const at = LEFT + part * (WIDTH - LEFT - RIGHT);
    return [svg('line', { x1: at, x2: at, y1: HEAD - 4, y2: height }), svg('text', { x: at, y: 14, 'text-anchor': 'middle' }, `+${duration(spanMs * part)}`)];
  });
  const id = fresh('timeline');
  const name = `Timeline from ${clock(fromMs)}: ${amount(ordered.length, 'execution')}, ${amount(versions.length, 'version')} of the state, ${amount(handoffs.length, 'handoff')}, within ${duration(spanMs)}.`;
  return h('figure', { class: 'timeline' },
    h('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Timeline' },
      svg('svg', { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-labelledby': id }, svg('title', { id }, name), svg('g', { class: 'axes', 'aria-hidden': 'true' }, ticks), bars, rows)),
    h('p', { class: 'legend-line' }, `From ${clock(fromMs)}. Bars are executions; diamonds are versions of the state and handoffs.`));
}

/** The versions of the state. */
export function versionTable(versions) {
  return table('Versions of the state', ['Version', 'By', { title: 'Size', numeric: true }, 'Written'],
    versions.map((version) => [version.version, version.by, bytes(version.bytes), moment(version.written_at_ms)]), 'The run keeps no state.');
}

/** The handoffs. */
export function handoffTable(handoffs) {
  return table('Handoffs', ['To', 'From', 'Why', 'Version', 'When'],
    handoffs.map((handoff) => [handoff.agent, handoff.from, handoff.reason, handoff.version ?? '–', moment(handoff.at_ms)]), 'The run was handed to nobody.');
}

function diamond(x, y) {
  return `M${x} ${y - 6}L${x + 6} ${y}L${x} ${y + 6}L${x - 6} ${y}Z`;
}

function shortened(text) {
  return text.length > 26 ? `${text.slice(0, 25)}…` : text;
}
