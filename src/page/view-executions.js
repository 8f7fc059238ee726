// What agents did and do, newest first.

import { read } from './api.js';
import { action, badge, failure, fresh, h, show, table } from './dom.js';
import { duration, moment, tone, words } from './format.js';

const EVERY_MS = 3_000;
const LISTED = 50;

const FILTERS = [
  ['outcome', 'Outcome', ['running', 'completed', 'failed', 'handed_off', 'cancelled', 'lost']],
  ['route', 'Route', ['orchestrated', 'fallback', 'local']],
];

/** The view. */
export async function executions({ poll, discovery, signal }, _, query) {
  const { agents } = await discovery();
  const filters = [['agent', 'Agent', agents.map((agent) => agent.id)], ...FILTERS];
  const list = h('div', {});
  const more = action('Older', () => load(next), { class: 'quiet' });
  // By id: what was under way when it was read first is read again.
  const known = new Map();
  let next;
  let older = false;
  const load = async (cursor) => {
    const filter = wanted();
    const asked = new URLSearchParams({ ...filter, limit: LISTED, ...(cursor && { cursor }) });
    const page = await read(`/executions?${asked}`, signal);
    if (JSON.stringify(filter) !== JSON.stringify(wanted())) return;
    older ||= cursor !== undefined;
    if (!older) known.clear();
    if (!older || cursor) next = page.next;
    for (const execution of page.executions) known.set(execution.id, execution);
    show(list, executionTable([...known.values()].sort((a, b) => b.started_at_ms - a.started_at_ms || (a.id < b.id ? 1 : -1))));
    more.hidden = !next;
  };
  const controls = filters.map(([name, label, values]) => {
    const control = h('select', { id: fresh(name), name, onchange: () => {
      older = false;
      load().catch((error) => show(list, failure(error)));
    } }, h('option', { value: '' }, 'All'), values.map((value) => h('option', { value, selected: query.get(name) === value }, words(value))));
    return { label, control };
  });
  const wanted = () => Object.fromEntries(controls.filter(({ control }) => control.value).map(({ control }) => [control.name, control.value]));
  await poll(EVERY_MS, list, async () => {
    if (!list.contains(document.activeElement)) await load();
  });
  return [
    h('h1', {}, 'Executions'),
    h('form', { class: 'filters', role: 'search', 'aria-label': 'Executions', onsubmit: (event) => event.preventDefault() },
      controls.map(({ label, control }) => h('div', { class: 'field inline' }, h('label', { for: control.id }, label), control)),
      h('p', { class: 'faint live' }, 'Renewed every few seconds')),
    list,
    more,
  ];
}

/** Executions as a table. */
export function executionTable(list) {
  return table('Executions', ['Began', 'Agent', 'Run and step', 'Outcome', { title: 'Took', numeric: true }, 'Coordinated'], list.map((execution) => [
    moment(execution.started_at_ms),
    h('a', { href: `#/agents/${encodeURIComponent(execution.agent)}` }, execution.agent),
    [h('a', { class: 'code', href: `#/runs/${encodeURIComponent(execution.orchestrator)}/${encodeURIComponent(execution.run)}` }, execution.run), h('span', { class: 'faint' }, ` ${execution.step}`)],
    [badge(words(execution.outcome ?? 'running'), tone(execution.outcome)), execution.error_code && h('span', { class: 'faint code' }, ` ${execution.error_code}`)],
    duration(execution.duration_ms),
    words(execution.route),
  ]), 'Nothing was executed yet that fits.');
}
