// The team: what each agent is, and where to try it.

import { badge, h } from './dom.js';
import { duration } from './format.js';

/** The view. */
export async function agents({ discovery }) {
  const { gateway, agents: team } = await discovery();
  return [
    h('h1', {}, 'Agents'),
    h('p', { class: 'lead' }, gateway.description),
    h('ul', { class: 'cards plain-list' }, team.map((agent) => h('li', { class: 'card' },
      h('h2', {}, h('a', { href: `#/agents/${encodeURIComponent(agent.id)}` }, agent.title)),
      h('p', { class: 'faint' }, h('span', { class: 'code' }, agent.id), ` ${agent.version} · ${agent.kind} · at most ${duration(agent.deadline_ms)}`),
      h('p', {}, agent.description),
      h('p', {}, agent.tags.map((tag) => [badge(tag), ' ']))))),
  ];
}
