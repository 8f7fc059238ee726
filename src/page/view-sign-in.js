// Signing in with the operator's key.

import { failure, fresh, h, show } from './dom.js';
import { signIn } from './sign.js';

/** The form. `entered` is told the session. `why` says why it is shown again. */
export function signInView(entered, why) {
  const ids = { key: fresh('key'), secret: fresh('secret'), file: fresh('file'), help: fresh('help') };
  const keyId = h('input', { id: ids.key, name: 'key-id', required: true, autocomplete: 'username', spellcheck: 'false', autocapitalize: 'none' });
  const secret = h('input', { id: ids.secret, name: 'secret', type: 'password', required: true, autocomplete: 'current-password', 'aria-describedby': ids.help });
  const problem = h('div', {});
  const button = h('button', { type: 'submit' }, 'Sign in');
  const file = h('input', { id: ids.file, type: 'file', accept: '.json,application/json', onchange: async () => {
    show(problem);
    try {
      const record = recordOf(JSON.parse(await file.files[0].text()));
      keyId.value = record.id;
      secret.value = record.secret;
      button.focus();
    } catch {
      show(problem, failure({ title: 'This file has no key.', detail: 'Choose the record that `baton keys new --purpose operate --json` printed.' }));
    }
  } });
  const form = h('form', { class: 'sign-in', onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    show(problem);
    try {
      const session = await signIn(keyId.value, secret.value);
      secret.value = '';
      await entered(session);
    } catch (error) {
      show(problem, failure(error));
      button.disabled = false;
      secret.focus();
    }
  } },
  h('img', { src: '/page/icon.svg', alt: '', width: 40, height: 40 }),
  h('h1', { tabindex: '-1' }, 'Sign in'),
  why && h('p', { class: 'notice', role: 'status' }, why),
  h('p', { class: 'faint', id: ids.help }, 'With an operator’s key. Its secret signs one request here, in your browser, and is not sent.'),
  h('div', { class: 'field' }, h('label', { for: ids.key }, 'Key id'), keyId),
  h('div', { class: 'field' }, h('label', { for: ids.secret }, 'Secret'), secret),
  h('div', { class: 'field' }, h('label', { for: ids.file }, 'Or take both from a key file'), file),
  problem,
  button);
  return form;
}

/** The operator's record in a file: the record itself, a list of records, or the file of `cargo xtask dev`. */
function recordOf(content) {
  const records = [content.operator_key, content, ...(Array.isArray(content) ? content : [])];
  const operates = (record) => !record.purposes || record.purposes.includes('operate');
  const found = records.find((record) => record?.id && record.secret && operates(record));
  if (!found) throw new Error('no record');
  return found;
}
