// What operators do on the page. Each function is one scenario, run by a test of the same name.

import assert from 'node:assert/strict';

const SESSION_S = 15 * 60;

/** Only an operator's key opens the page, and its secret stays in the browser. */
export async function signing_in(visitor) {
  const { page, settings } = visitor;
  const { operator, invoke } = settings.keys;
  await visitor.heading('Sign in').waitFor();
  await visitor.assertAccessible('signing in');
  await visitor.picture('sign-in');

  await visitor.signInAs({ id: operator.id, secret: invoke.secret });
  await page.getByRole('alert').getByText('Key id and secret do not fit.').waitFor();
  visitor.assertComplainsOf(401);
  await visitor.signInAs(invoke);
  await page.getByRole('alert').getByText('This key is not an operator').waitFor();
  visitor.assertComplainsOf(403);
  await visitor.signInAs({ id: operator.id, secret: 'c2hvcnQ=' });
  await page.getByRole('alert').getByText('The secret is too short.').waitFor();
  assert.equal(await visitor.cookie(), undefined);

  await page.getByLabel('Or take both from a key file').setInputFiles({
    name: 'key.json',
    mimeType: 'application/json',
    buffer: Buffer.from(JSON.stringify({ ...operator, purposes: ['operate'] })),
  });
  await page.getByRole('button', { name: 'Sign in' }).click();
  await visitor.heading('Overview').waitFor();
  const { name, value, httpOnly, secure, sameSite, path, expires } = await visitor.cookie();
  // The tests have no TLS: with it, the name has the prefix __Host- and the cookie is Secure.
  assert.deepEqual({ name, httpOnly, secure, sameSite, path }, { name: 'baton-session', httpOnly: true, secure: false, sameSite: 'Strict', path: '/' });
  const lastsS = expires - Date.now() / 1_000;
  assert.ok(lastsS > SESSION_S - 60 && lastsS <= SESSION_S, `${lastsS} s`);
  assert.equal(await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage, ...sessionStorage })), '{}');
  assert.ok(visitor.sent.every((request) => !request.includes(operator.secret)), 'the secret left the browser');
  assert.ok(!value.includes(operator.secret));

  await page.reload();
  await visitor.heading('Overview').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await visitor.heading('Sign in').waitFor();
  assert.equal(await visitor.cookie(), undefined);
  await page.reload();
  await visitor.heading('Sign in').waitFor();
}

/** Without a mouse: to an agent, through its form, to the answer and its run. */
export async function an_agent_by_keyboard(visitor) {
  const { page } = visitor;
  const { operator } = visitor.settings.keys;
  const press = (key) => page.keyboard.press(key);
  await visitor.tabTo(page.getByLabel('Key id'));
  await page.keyboard.type(operator.id);
  await press('Tab');
  await page.keyboard.type(operator.secret);
  await press('Enter');
  await visitor.heading('Overview').waitFor();

  await visitor.tabTo(page.getByRole('navigation').getByRole('link', { name: 'Agents' }));
  await press('Enter');
  await visitor.heading('Agents').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.tagName), 'H1', 'the focus is where the view begins');
  await visitor.tabTo(page.getByRole('link', { name: 'Triage', exact: true }));
  await press('Enter');
  await visitor.heading('Triage').waitFor();

  await visitor.tabTo(page.getByLabel('text'));
  await press('ControlOrMeta+a');
  await page.keyboard.type('I was charged twice');
  // The other side of the form has the same value, and a way back.
  await page.getByRole('tab', { name: 'Form' }).first().focus();
  await press('ArrowRight');
  const raw = page.getByLabel('Input as JSON');
  assert.deepEqual(JSON.parse(await raw.inputValue()), { text: 'I was charged twice' });
  await press('ArrowLeft');
  await visitor.tabTo(page.getByRole('button', { name: 'Run', exact: true }));
  await press('Enter');
  const answer = page.getByLabel('Output', { exact: true });
  await answer.first().waitFor();
  assert.equal(JSON.parse(await answer.first().textContent()).category, 'support');
  await visitor.picture('answer');

  const link = page.getByRole('link', { name: /^dir_/ });
  const run = await link.first().textContent();
  await visitor.tabTo(link.first());
  await press('Enter');
  await visitor.heading(run).waitFor();
  await page.getByRole('row', { name: /triage 1 completed/ }).first().waitFor();
  // From the history, which has the execution a moment later.
  await page.getByRole('img', { name: /^Timeline .* 1 execution,/ }).waitFor();
  await visitor.assertAccessible('a run');
  await visitor.picture('run');
}

/** What an agent's schema forbids is said at the field that it is about. */
export async function mistakes_in_a_form(visitor) {
  const { page } = visitor;
  await visitor.signIn();
  await visitor.open('#/agents/prioritize', 'Prioritize');
  const affected = page.getByLabel('affected_users');
  await affected.fill('-1');
  // The browser's own check would be first: what counts here is the gateway's.
  await page.locator('form').filter({ has: affected }).evaluate((form) => { form.noValidate = true; });
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.locator('[data-wrong="/affected_users"]:not(:empty)').waitFor();
  assert.equal(await affected.getAttribute('aria-invalid'), 'true');
  assert.ok(await affected.evaluate((element) => element === document.activeElement));
  visitor.assertComplainsOf(422);
  await visitor.assertAccessible('a mistake');
  await visitor.picture('mistake');
}

/** Whatever a schema has, the form takes a value in and gives the same back. */
export async function every_kind_of_field(visitor) {
  const { page } = visitor;
  // The page is there; what stands in it is taken away below.
  await visitor.heading('Sign in').waitFor();
  const schema = {
    type: 'object',
    required: ['text', 'count', 'kind', 'tags', 'shape', 'fixed'],
    properties: {
      text: { type: 'string' },
      day: { type: 'string', format: 'date' },
      mail: { type: 'string', format: 'email' },
      count: { type: 'integer', minimum: 1 },
      share: { type: 'number' },
      sure: { type: 'boolean' },
      kind: { $ref: '#/$defs/Kind' },
      tags: { type: 'array', items: { type: 'string', maxLength: 9 } },
      shape: {
        oneOf: [
          { title: 'Circle', type: 'object', required: ['is', 'radius'], properties: { is: { const: 'circle' }, radius: { type: 'number' } } },
          { title: 'Square', type: 'object', required: ['is', 'side'], properties: { is: { const: 'square' }, side: { type: 'number' } } },
        ],
      },
      fixed: { const: 7 },
      nested: { type: 'object', required: ['a/b'], properties: { 'a/b': { type: ['string', 'null'] } } },
      anything: {},
    },
    $defs: { Kind: { enum: ['one', 2, null] } },
  };
  const whole = {
    text: 'ä', day: '2026-11-24', mail: 'a@example.com', count: 3, share: 0.5, sure: false, kind: 2, tags: ['x', 'y'],
    shape: { is: 'square', side: 2 }, fixed: 7, nested: { 'a/b': 'c' }, anything: { deep: [1] },
  };
  const least = { text: '', count: 1, kind: 'one', tags: [], shape: { is: 'circle', radius: 1 }, fixed: 7 };
  const back = (value) => page.evaluate(async ([shape, given]) => {
    const { field } = await import('/page/fields.js');
    const made = field(shape, { root: shape, name: 'input', at: '', required: true });
    made.write(given);
    const heading = document.createElement('h1');
    heading.textContent = 'Fields';
    document.getElementById('main').replaceChildren(heading, made.node);
    return made.read();
  }, [schema, value]);
  assert.deepEqual(await back(least), least);
  assert.deepEqual(await back(whole), whole);
  await page.getByRole('button', { name: 'Add to tags' }).click();
  await page.getByRole('button', { name: 'Remove item 1 of tags' }).click();
  assert.equal(await page.getByRole('button', { name: /Remove item/ }).count(), 2);
  assert.equal(await page.getByLabel('tags 1').inputValue(), 'y', 'those behind it move up');
  await visitor.assertAccessible('a form');
  await visitor.picture('fields');
}

/** A session that ends while the page is open leads back to the form, and on from there. */
export async function a_session_that_ends(visitor) {
  const { page } = visitor;
  await visitor.signIn();
  await page.context().clearCookies();
  await page.getByRole('navigation').getByRole('link', { name: 'API keys' }).click();
  await page.getByText('The session is over. Sign in again to go on.').waitFor();
  assert.ok(visitor.takeComplaints().every((complaint) => /status of 401/.test(complaint)));
  await visitor.signInAs(visitor.settings.keys.operator);
  await visitor.heading('API keys').waitFor();
}

/** A key is made, shown once, and revoked after a question. */
export async function api_keys(visitor) {
  const { page } = visitor;
  await visitor.signIn();
  await visitor.open('#/api-keys', 'API keys');
  const name = `Ada ${Date.now()}`;
  await page.getByLabel('Name').fill(name);
  await page.getByRole('button', { name: 'Make a key' }).click();
  assert.match(await page.getByText(/^baton_/).textContent(), /^baton_[0-9a-f]{16}_/);
  await page.getByRole('button', { name: `Revoke ${name}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Keep it' }).click();
  await page.getByRole('button', { name: `Revoke ${name}` }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('row', { name }).getByText('revoked').waitFor();
  await page.reload();
  await page.getByRole('row', { name }).getByText('revoked').waitFor();
  assert.equal(await page.getByText(/^baton_/).count(), 0);
  await visitor.assertAccessible('API keys');
  await visitor.picture('api-keys');
}

/** A breaker is held open after a question, and let go. */
export async function holding_a_breaker(visitor) {
  const { page } = visitor;
  await visitor.signIn();
  const card = page.getByRole('article', { name: 'Orchestrator acme' });
  await card.getByText('registered', { exact: true }).waitFor();
  await card.getByText(/^[0-9.]+ (s|min) left$/).waitFor();
  await card.getByRole('button', { name: 'Hold the breaker open' }).click();
  await visitor.assertAccessible('a question');
  await visitor.picture('question');
  await page.getByRole('dialog').getByRole('button', { name: 'Hold it open' }).click();
  await card.getByText('held by an operator').waitFor();
  await card.getByRole('button', { name: 'Let the breaker go' }).click();
  await card.getByText('closed', { exact: true }).waitFor();
  assert.equal(await card.getByText('held by an operator').count(), 0);
}

/** Every view in light and dark, and on a narrow screen. */
export async function every_view(visitor) {
  const { page } = visitor;
  await visitor.signIn();
  const views = [
    ['overview', '#/', 'Overview'],
    ['agents', '#/agents', 'Agents'],
    ['agent', '#/agents/prioritize', 'Prioritize'],
    ['executions', '#/executions', 'Executions'],
    ['deliveries', '#/deliveries', 'Deliveries'],
  ];
  const grounds = new Set();
  await visitor.inEveryLook(async (look) => {
    for (const [name, hash, heading] of views) {
      await visitor.open(hash, heading);
      await visitor.assertFits(`${name}-${look}`);
    }
    grounds.add(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
  });
  assert.equal(grounds.size, 2, 'light and dark are different');
}
