// The page: who is signed in, which view is shown, and what happens when that changes.

import { Failure, call, read, signedOut } from './api.js';
import { announce, failure, h, show } from './dom.js';
import { signInView } from './view-sign-in.js';
import { overview } from './view-overview.js';
import { agents } from './view-agents.js';
import { agent } from './view-agent.js';
import { executions } from './view-executions.js';
import { run } from './view-run.js';
import { deliveries } from './view-deliveries.js';
import { keys } from './view-keys.js';

/** What an address after `#` shows; those with a name stand in the navigation. */
const VIEWS = [
  { name: 'Overview', at: /^\/$/, href: '#/', view: overview },
  { name: 'Agents', at: /^\/agents$/, href: '#/agents', view: agents },
  { within: 'Agents', at: /^\/agents\/([^/]+)$/, view: agent },
  { name: 'Executions', at: /^\/executions$/, href: '#/executions', view: executions },
  { within: 'Executions', at: /^\/runs\/([^/]+)\/([^/]+)$/, view: run },
  { name: 'Deliveries', at: /^\/deliveries$/, href: '#/deliveries', view: deliveries },
  { name: 'API keys', at: /^\/api-keys$/, href: '#/api-keys', view: keys },
];

const element = (id) => document.getElementById(id);
let leaving = new AbortController();

/** What a view may use: a signal that is given when it is left, and work to be done again and again until then. */
function context(signal) {
  return {
    signal,
    /** Does `work` now and every `everyMs` while the page is looked at. Where it fails, `place` says so until it does not. */
    async poll(everyMs, place, work) {
      const once = () => work().catch((error) => {
        if (!signal.aborted) show(place, failure(error));
      });
      await once();
      const timer = setInterval(() => {
        if (!document.hidden) once();
      }, everyMs);
      signal.addEventListener('abort', () => clearInterval(timer));
    },
    discovery: () => read('/.well-known/baton.json', signal),
  };
}

async function navigate({ focus }) {
  const [address, query] = (location.hash.slice(1) || '/').split('?');
  const found = VIEWS.find((known) => known.at.test(address)) ?? VIEWS[0];
  const values = (address.match(found.at) ?? []).slice(1).map(decodeURIComponent);
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  markCurrent(found.name ?? found.within);
  const main = element('main');
  main.setAttribute('aria-busy', 'true');
  let content;
  try {
    content = await found.view(context(signal), values, new URLSearchParams(query));
  } catch (error) {
    if (signal.aborted) return;
    content = [h('h1', {}, found.name ?? found.within), failure(error instanceof Failure ? error : new Failure({ detail: error.message }))];
  }
  if (signal.aborted) return;
  main.removeAttribute('aria-busy');
  show(main, content);
  const heading = main.querySelector('h1');
  document.title = `${heading?.textContent ?? 'Baton'} · ${element('gateway').textContent}`;
  if (focus && heading) {
    heading.tabIndex = -1;
    heading.focus();
  }
}

function markCurrent(name) {
  for (const link of element('views').querySelectorAll('a')) {
    if (link.textContent === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

async function enter(session) {
  const discovery = await read('/.well-known/baton.json');
  element('gateway').textContent = discovery.gateway.id;
  element('who').textContent = session.key_id;
  const named = VIEWS.filter(({ name }) => name);
  show(element('views'), h('ul', {}, named.map(({ name, href }) => h('li', {}, h('a', { href }, name)))));
  element('top').hidden = false;
  await navigate({ focus: true });
}

function leave(why) {
  leaving.abort();
  element('top').hidden = true;
  document.title = 'Sign in · Baton';
  show(element('main'), signInView(enter, why));
  element('main').querySelector('h1').focus();
}

async function begin() {
  element('sign-out').addEventListener('click', async () => {
    try {
      await call('DELETE', '/session');
    } catch (error) {
      if (error.status !== 401) {
        element('main').prepend(failure(error));
        return;
      }
    }
    leave('You are signed out.');
    announce('You are signed out.');
  });
  signedOut.addEventListener('over', () => {
    if (!element('top').hidden) leave('The session is over. Sign in again to go on.');
  });
  addEventListener('hashchange', () => {
    if (!element('top').hidden && location.hash !== '#main') navigate({ focus: true });
  });
  document.querySelector('.skip').addEventListener('click', (event) => {
    event.preventDefault();
    element('main').focus();
  });
  const session = await read('/session');
  await (session.signed_in ? enter(session) : leave());
}

begin().catch((error) => show(element('main'), failure(error)));
