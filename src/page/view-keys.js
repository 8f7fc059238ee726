// API keys of customers: made, shown once, revoked.

import { call, path, read } from './api.js';
import { action, announce, badge, confirmed, fresh, h, section, show } from './dom.js';
import { count, moment } from './format.js';
import { pagedTable } from './paged.js';

/** The view. */
export async function keys({ signal, discovery }) {
  const { agents } = await discovery();
  const list = pagedTable({
    caption: 'API keys',
    columns: ['Name', 'Id', 'Agents', { title: 'Calls in a minute', numeric: true }, 'Made', 'Ends', 'Revoke'],
    async page(cursor) {
      const { api_keys: items, next } = await read(`/operator/api-keys${cursor}`, signal);
      return { items, next };
    },
    row: (key) => [
      key.name,
      h('span', { class: 'code' }, key.id),
      key.agents.map((agent) => (agent === '*' ? 'all' : agent)).join(', '),
      count(key.rate.per_minute),
      moment(key.created_at_ms),
      key.expires_at_ms ? moment(key.expires_at_ms) : 'never',
      key.revoked_at_ms ? badge('revoked') : action('Revoke', () => revoke(list, key), { class: 'quiet', 'aria-label': `Revoke ${key.name}` }),
    ],
    empty: 'There is no API key yet.',
  });
  await list.load();
  return [
    h('h1', { tabindex: '-1' }, 'API keys'),
    h('p', { class: 'lead' }, 'With one of these, a customer calls agents directly.'),
    section('Make a key', creation(agents, (key) => list.change((known) => [key, ...known]))),
    section('All keys', list.node),
  ];
}

async function revoke(list, key) {
  if (!await confirmed(`Revoke the key “${key.name}”?`, 'Its customer is refused from now on, for good.', 'Revoke')) return;
  await call('DELETE', path('operator', 'api-keys', key.id));
  list.change((known) => known.map((own) => (own === key ? { ...key, revoked_at_ms: Date.now() } : own)));
  announce(`The key ${key.name} is revoked.`);
  document.querySelector('h1').focus();
}

function creation(agents, made) {
  const result = h('div', { 'aria-live': 'polite' });
  const name = h('input', { id: fresh('name'), required: true, maxlength: 128, autocomplete: 'off' });
  const agent = h('select', { id: fresh('agent') }, h('option', { value: '*' }, 'all'), agents.map(({ id }) => h('option', { value: id }, id)));
  const make = action('Make a key', async () => {
    if (!name.reportValidity()) return;
    const { data } = await call('POST', '/operator/api-keys', { name: name.value, agents: [agent.value] });
    const { api_key: text, ...key } = data;
    name.value = '';
    show(result, h('div', { class: 'notice' }, h('p', {}, 'This key is shown once: keep it now.'), h('p', {}, h('code', {}, text))));
    made(key);
  });
  return [h('div', { class: 'filters' },
    h('div', { class: 'field inline' }, h('label', { for: name.id }, 'Name'), name),
    h('div', { class: 'field inline' }, h('label', { for: agent.id }, 'Agent'), agent),
    make), result];
}
