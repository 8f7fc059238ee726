// What the gateway tells others and could not: callbacks, notifications, and events for the history and for telemetry.

import { Failure, call, path, read } from './api.js';
import { action, announce, badge, h, section, show, table } from './dom.js';
import { count, moment, words } from './format.js';
import { pagedTable } from './paged.js';

/** The view. */
export async function deliveries({ signal }) {
  const waiting = h('div', {});
  const callbacks = letters(signal);
  const events = deadEvents(signal, waiting);
  await callbacks.load();
  await events.load();
  return [
    h('h1', { tabindex: '-1' }, 'Deliveries'),
    section('Callbacks and notifications that were given up', h('p', { class: 'lead' }, 'Nobody took them for a day, or their receiver wants no more of them. Sent again, one is tried for another day.'), callbacks.node),
    section('Telemetry that waits', waiting),
    section('Telemetry that was given up', events.node),
  ];
}

function letters(signal) {
  const list = pagedTable({
    caption: 'Dead letters',
    columns: ['Given up', 'To', 'Run and step', { title: 'Tries', numeric: true }, 'Last error', 'Resend'],
    async page(cursor) {
      const { dead_letters: items, next } = await read(`/operator/dead-letters${cursor}`, signal);
      return { items, next };
    },
    row: (letter) => [
      moment(letter.dead_at_ms),
      h('span', { class: 'code' }, letter.url),
      [runLink(letter), h('span', { class: 'faint' }, ` ${letter.step}`)],
      count(letter.tries),
      letter.last_error,
      action('Send again', async () => {
        await call('POST', path('operator', 'dead-letters', letter.delivery, 'resend'));
        gone(list, letter, 'It is on its way again.');
      }, { class: 'quiet', 'aria-label': `Send again: ${letter.delivery}` }),
    ],
    empty: 'Nothing was given up.',
  });
  return list;
}

function deadEvents(signal, waiting) {
  const list = pagedTable({
    caption: 'Events that were given up',
    columns: ['Given up', 'For', 'Run', 'What happened', 'Why', 'Resend'],
    async page(cursor) {
      const { waiting: lags, dead_letters: items, next } = await read(`/operator/outbox${cursor}`, signal);
      show(waiting, lagTable(lags));
      return { items, next };
    },
    row: (letter) => [
      moment(letter.dead_at_ms),
      letter.destination,
      runLink(letter),
      words(letter.event),
      letter.reason,
      action('Send again', async () => {
        const { data } = await call('POST', path('operator', 'outbox', letter.letter, 'resend'));
        if (data.status !== 'delivered') throw new Failure({ title: 'It was refused again.', detail: data.reason });
        gone(list, letter, 'It was delivered.');
      }, { class: 'quiet', 'aria-label': `Send again: ${letter.letter}` }),
    ],
    empty: 'No event was given up.',
  });
  return list;
}

function lagTable(lags) {
  return table('Runs whose events wait', ['Since', 'For', 'Run', 'Health', { title: 'Events', numeric: true }, { title: 'Lost', numeric: true }, 'Last error'], lags.map((lag) => [
    moment(lag.oldest_at_ms),
    lag.destination,
    lag.run ? runLink(lag) : 'many runs',
    badge(lag.health, lag.health === 'paused' ? 'bad' : 'warn'),
    count(lag.waiting),
    count(lag.dropped),
    lag.last_error ?? '–',
  ]), 'Everything was delivered.');
}

/** The run, where it can be looked at; what a link tells is of no run. */
function runLink({ orchestrator, run }) {
  if (run === ':link') return `link to ${orchestrator}`;
  return h('a', { class: 'code', href: `#/runs/${encodeURIComponent(orchestrator)}/${encodeURIComponent(run)}` }, run);
}

/** Takes an item off a list, says why, and goes where the next one is. */
function gone(list, item, why) {
  list.change((items) => items.filter((own) => own !== item));
  announce(why);
  document.querySelector('h1').focus();
}
