// How the gateway stands: its links to orchestrators with their breakers, its alerts, and what it is doing.

import { call, path, read } from './api.js';
import { action, announce, badge, confirmed, facts, h, section, show, table } from './dom.js';
import { duration, moment, words } from './format.js';
import { executionTable } from './view-executions.js';

const EVERY_MS = 5_000;
// The gateway itself looks at them every 5 minutes.
const ALERTS_EVERY_MS = 60_000;
const LATEST = 10;

const TONES = { registered: 'good', registering: 'busy', draining: 'busy', degraded: 'warn', refused: 'bad', closed: 'good', 'half-open': 'warn', open: 'bad', well: 'good', pending: 'warn', firing: 'bad' };

/** The view. */
export async function overview({ poll, signal }) {
  const links = h('div', { class: 'cards' });
  const alerts = h('div', {});
  const latest = h('div', {});
  const renew = async () => {
    const { links: found } = await read('/operator/links', signal);
    show(links, found.length > 0 ? found.map((link) => card(link, renew)) : h('p', { class: 'empty' }, 'No orchestrator is configured: the gateway answers direct calls by itself.'));
  };
  await poll(EVERY_MS, links, async () => {
    // What somebody works on in a card is not taken away under their hands.
    if (!links.contains(document.activeElement)) await renew();
  });
  await poll(ALERTS_EVERY_MS, alerts, async () => {
    const { alerts: found } = await read('/operator/alerts', signal);
    show(alerts, alertTable(found));
  });
  await poll(EVERY_MS, latest, async () => {
    if (latest.contains(document.activeElement)) return;
    const { executions } = await read(`/executions?limit=${LATEST}`, signal);
    show(latest, executionTable(executions));
  });
  return [
    h('h1', {}, 'Overview'),
    section('Orchestrators', links),
    section('Alerts', alerts),
    section('Latest executions', latest, h('p', {}, h('a', { href: '#/executions' }, 'All executions'))),
  ];
}

function card(link, renew) {
  const order = (command, body) => async () => {
    await call('POST', path('operator', 'links', link.orchestrator, command), body);
    await renew();
    announce('Done.');
    document.querySelector(`[data-link="${CSS.escape(link.orchestrator)}"] button`)?.focus();
  };
  const asked = (question, detail, yes, act) => async () => {
    if (await confirmed(question, detail, yes)) await act();
  };
  const { breaker } = link;
  return h('article', { class: 'card', 'data-link': link.orchestrator, 'aria-label': `Orchestrator ${link.orchestrator}` },
    h('h3', {}, link.orchestrator, ' ', badge(words(link.state), TONES[link.state])),
    facts([
      ['Address', h('span', { class: 'code' }, link.url)],
      ['Lease', link.lease_left_ms === undefined ? 'none' : `${duration(link.lease_left_ms)} left`],
      ['Registration', link.registration && h('span', { class: 'code' }, link.registration)],
      ['Generation', link.generation],
      ['Next call', link.next_in_ms === undefined ? undefined : `in ${duration(link.next_in_ms)}`],
      ['Failures in a row', link.failures || undefined],
      ['Last error', link.last_error],
      ['Breaker', [badge(words(breaker.state), TONES[breaker.state]), breaker.forced && ' held by an operator', breaker.probe_in_ms !== undefined && ` trial in ${duration(breaker.probe_in_ms)}`]],
    ]),
    h('div', { class: 'buttons' },
      breaker.forced
        ? action('Let the breaker go', order('breaker', { state: 'auto' }), { class: 'quiet' })
        : action('Hold the breaker open', asked(`Hold the breaker of ${link.orchestrator} open?`, 'No direct call is handed on to this orchestrator until you let the breaker go; the gateway answers them itself.', 'Hold it open', order('breaker', { state: 'open' })), { class: 'quiet' }),
      ['registered', 'degraded', 'registering'].includes(link.state)
        ? action('Drain', asked(`Drain the link to ${link.orchestrator}?`, 'The orchestrator is asked for no new steps, and the gateway deregisters a little later.', 'Drain', order('drain')), { class: 'quiet' })
        : action('Register', order('register'), { class: 'quiet' })));
}

function alertTable(alerts) {
  return table('Alerts', ['Alert', 'State', 'Since', 'What was seen', 'Not told'], alerts.map((alert) => [
    alert.alert,
    badge(alert.state, TONES[alert.state]),
    alert.since_ms === undefined ? '–' : moment(alert.since_ms),
    alert.text ?? 'It was not looked at yet.',
    alert.last_error ?? '–',
  ]), 'The gateway declares no alerts.');
}
