// One agent: how it does, a form to try it, and its schemas.

import { call, path, read } from './api.js';
import { announce, badge, facts, failure, fresh, h, section, show } from './dom.js';
import { count, duration, percent, tone, words } from './format.js';
import { schemaForm, tabList } from './form.js';
import { BUCKETS, latencyChart, outcomeChart } from './chart.js';

const CHART_EVERY_MS = 15_000;
/** Who has the runs of a gateway without an orchestrator. */
const GATEWAYS_OWN = ':gateway';
const WINDOWS = [['Last hour', '1h'], ['Last 24 hours', '24h'], ['Last 7 days', '7d']];
const WINDOW = '24h';

/** The view. */
export async function agent(context, [id]) {
  const { agents } = await context.discovery();
  const found = agents.find((own) => own.id === id);
  if (!found) return [h('h1', {}, 'Agents'), h('p', { class: 'notice' }, `There is no agent “${id}”. `, h('a', { href: '#/agents' }, 'All agents'))];
  return [
    h('p', { class: 'path' }, h('a', { href: '#/agents' }, 'Agents')),
    h('h1', {}, found.title),
    h('p', { class: 'lead' }, found.description),
    facts([
      ['Id', h('span', { class: 'code' }, found.id)], ['Version', found.version], ['Kind', found.kind],
      ['Deadline', duration(found.deadline_ms)],
      ['Hands off to', found.handoffs?.join(', ')],
    ]),
    section('Try it', trial(found)),
    await performance(context, found),
    section('Schemas', schemas(found)),
  ];
}

function trial(agent) {
  // Not a live region: what is said of it is `announce`, and not all of the output.
  const result = h('div', { class: 'result' });
  const form = schemaForm(agent.input, {
    label: 'Run',
    async submitted(input) {
      show(result, h('p', { class: 'empty' }, 'Running …'));
      announce('Running');
      try {
        const { data, headers, ms } = await call('POST', path('agents', agent.id, 'query'), { input });
        show(result, answer(data, headers, ms));
        announce(`${words(data.status)} in ${duration(ms)}`);
      } catch (error) {
        show(result);
        throw error;
      }
    },
  });
  const examples = agent.examples ?? [];
  if (examples.length > 0) form.write(examples[0].input);
  const choice = h('select', { id: fresh('example'), onchange: () => form.write(examples[Number(choice.value)].input) },
    examples.map((example, place) => h('option', { value: place }, example.title ?? `Example ${place + 1}`)));
  return h('div', { class: 'trial' },
    h('div', {}, examples.length > 0 && h('div', { class: 'field inline' }, h('label', { for: choice.id }, 'Example'), choice), form.node),
    h('div', {}, h('h3', {}, 'Answer'), result,
      h('p', { class: 'help' }, 'It is a direct call in your name: the orchestrator coordinates it while it answers, and your address’s rate limit holds.')));
}

function answer(data, headers, ms) {
  const { route } = data;
  const routed = { orchestrated: `by ${route.orchestrator}`, fallback: `by the gateway, for ${route.orchestrator} did not (${words(route.reason ?? '')})`, local: 'by the gateway, which has no orchestrator', stored: 'answered before' }[route.by];
  return [
    facts([
      ['Outcome', badge(words(data.status), tone(data.status))],
      ['Coordinated', routed],
      ['Took', duration(ms)],
      ['Run', runLink(data, route)],
      ['Calls left', headers.get('ratelimit')?.match(/r=(\d+)/)?.[1]],
    ]),
    data.error && h('p', { class: 'notice bad' }, h('strong', {}, data.error.code), ` ${data.error.message}`),
    data.output !== undefined && h('pre', { class: 'code', tabindex: '0', 'aria-label': 'Output' }, JSON.stringify(data.output, null, 2)),
  ];
}

function runLink(data, route) {
  return h('a', { class: 'code', href: `#/runs/${encodeURIComponent(route.orchestrator ?? GATEWAYS_OWN)}/${encodeURIComponent(data.run)}` }, data.run);
}

async function performance({ poll, signal }, agent) {
  const [tiles, charts] = [h('div', { class: 'tiles' }), h('div', { class: 'charts' })];
  const windows = h('select', { id: fresh('window'), onchange: () => draw().catch((error) => show(charts, failure(error))) }, WINDOWS.map(([name, value]) => h('option', { value, selected: value === WINDOW }, name)));
  const draw = async () => {
    const metrics = await read(`${path('agents', agent.id, 'metrics')}?window=${windows.value}&buckets=${BUCKETS}`, signal);
    show(tiles, [
      ['Executions', count(metrics.count)],
      ['Success', metrics.success_rate === null ? '–' : percent(metrics.success_rate)],
      ['Errors', metrics.error_rate === null ? '–' : percent(metrics.error_rate)],
      ['p50', duration(metrics.duration_ms.p50)], ['p95', duration(metrics.duration_ms.p95)], ['p99', duration(metrics.duration_ms.p99)],
      ['Fallback', metrics.fallback_share === null ? '–' : percent(metrics.fallback_share)],
      ['Under way', count(metrics.running)],
    ].map(([name, value]) => h('div', { class: 'tile' }, h('span', { class: 'tile-name' }, name), h('span', { class: 'tile-value' }, value))));
    if (charts.contains(document.activeElement)) return;
    const opened = [...charts.querySelectorAll('details')].map((details) => details.open);
    show(charts, outcomeChart(metrics), latencyChart(metrics));
    charts.querySelectorAll('details').forEach((details, place) => { details.open = opened[place] ?? false; });
  };
  await poll(CHART_EVERY_MS, charts, draw);
  return section('How it does', h('div', { class: 'field inline' }, h('label', { for: windows.id }, 'Time'), windows), tiles, charts);
}

function schemas(agent) {
  const sides = [['Input', agent.input], ['Output', agent.output], ['State', agent.state]].filter(([, schema]) => schema);
  const panels = sides.map(([name, schema], place) => h('div', { hidden: place > 0 }, h('pre', { class: 'code', tabindex: '0', 'aria-label': `${name} schema` }, JSON.stringify(schema, null, 2))));
  return [tabList('Schemas', sides.map(([name]) => name), panels), panels];
}
