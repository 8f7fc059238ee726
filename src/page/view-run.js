// One run: its executions in time, the versions of its state, its handoffs and steps.

import { path, read, readIfAny } from './api.js';
import { badge, facts, h, section, show, table } from './dom.js';
import { duration, moment, tone, words } from './format.js';
import { handoffTable, timeline, versionTable } from './timeline.js';

const EVERY_MS = 3_000;
const EXECUTIONS_MAX = 200;

/** The view. */
export async function run({ poll, signal }, [orchestrator, id]) {
  const place = h('div', {});
  await poll(EVERY_MS, place, async () => {
    if (place.contains(document.activeElement)) return;
    const query = new URLSearchParams({ orchestrator, run: id, limit: EXECUTIONS_MAX });
    const [described, { executions, next }] = await Promise.all([
      readIfAny(path('operator', 'runs', orchestrator, id), signal),
      read(`/executions?${query}`, signal),
    ]);
    show(place, described || executions.length > 0 ? whole(described, executions, next !== undefined) : h('p', { class: 'notice' }, 'No run of this id is kept.'));
  });
  return [
    h('p', { class: 'path' }, h('a', { href: '#/executions' }, 'Executions')),
    h('h1', { class: 'code' }, id),
    place,
  ];
}

function whole(described, executions, areCut) {
  const { versions = [], handoffs = [], steps = [] } = described ?? {};
  return [
    described ? facts([
      ['Created', moment(described.created_at_ms)],
      ['Last used', moment(described.touched_at_ms)],
      ['Kept until', moment(described.expires_at_ms)],
      ['Handed to', described.agent],
      ['State', described.state && `version ${described.state.version}`],
      ['Taken over', described.settlement && `${words(described.settlement.reason)}, ${moment(described.settlement.routed_at_ms).textContent}`],
      ['Settlement', described.settlement && [badge(words(described.settlement.status), described.settlement.status === 'acknowledged' ? 'good' : 'warn'), ` ${described.settlement.tries} tries`]],
      ['Last error', described.settlement?.last_error],
    ]) : h('p', { class: 'notice' }, 'The run itself is forgotten: this is what the history has of it.'),
    areCut && h('p', { class: 'notice' }, `The run has more executions than are shown: these are its newest ${EXECUTIONS_MAX}.`),
    section('Timeline', timeline({ executions, versions, handoffs }, Date.now())),
    section('Executions', table('Executions of this run', ['Step', 'Agent', { title: 'Attempt', numeric: true }, 'Outcome', 'Began', { title: 'Took', numeric: true }], executions.map((execution) => [
      execution.step, execution.agent, execution.attempt,
      [badge(words(execution.outcome ?? 'running'), tone(execution.outcome)), execution.error_code && h('span', { class: 'faint code' }, ` ${execution.error_code}`)],
      moment(execution.started_at_ms), duration(execution.duration_ms),
    ]), 'The history has no execution of this run yet.')),
    section('State', versionTable(versions)),
    section('Handoffs', handoffTable(handoffs)),
    section('Steps', table('Steps', ['Step', 'Agent', { title: 'Attempt', numeric: true }, 'Status'], steps.map((step) => [
      step.step, step.agent, step.attempt, badge(words(step.outcome ?? step.status), tone(step.outcome)),
    ]), 'The run has no steps.')),
  ];
}
