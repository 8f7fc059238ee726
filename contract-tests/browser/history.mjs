// What operators see on the page of what happened, and what they send again. Each function is one scenario, run by a test;
// `settings.story` is what that test has prepared.

import assert from 'node:assert/strict';

/** An event that was given up, as its receiver goes on refusing it: that is said, and it stays on the list. */
export async function an_event_that_is_refused_again(visitor) {
  const { page } = visitor;
  await visitor.signIn();
  await visitor.open('#/deliveries', 'Deliveries');
  const rows = page.getByRole('table', { name: 'Events that were given up' }).locator('tbody tr');
  await rows.first().waitFor();
  assert.equal(await rows.count(), 2);
  const told = await rows.allTextContents();
  assert.ok(told.some((text) => text.includes('execution ended')) && told.some((text) => text.includes('attempt ended')), told.join('\n'));
  for (const text of told) assert.match(text, /otlp.*status 400/);
  await rows.first().getByRole('button').click();
  await page.getByText('It was refused again.').waitFor();
  assert.equal(await rows.count(), 2);
  await visitor.assertAccessible('events that were given up');
  await visitor.picture('dead-events');
  await page.setViewportSize({ width: 390, height: 844 });
  await visitor.assertFits('dead-events-narrow');
}

/** The same events, when their receiver takes them: each goes off the list, and is not there either when it is read anew. */
export async function events_that_are_sent_again(visitor) {
  const { page } = visitor;
  await visitor.signIn();
  await visitor.open('#/deliveries', 'Deliveries');
  const again = page.getByRole('button', { name: /^Send again: evt_/ });
  await again.first().waitFor();
  for (let left = await again.count(); left > 0; left -= 1) {
    await again.first().click();
    await page.getByText('It was delivered.').waitFor();
    await page.waitForFunction((count) => document.querySelectorAll('button[aria-label^="Send again: evt_"]').length === count, left - 1);
  }
  await page.getByText('No event was given up.').waitFor();
  await page.reload();
  await page.getByText('No event was given up.').waitFor();
}

/** A callback that was given up is sent again: it goes off the list, and is not there either when it is read anew. */
export async function a_callback_that_is_sent_again(visitor) {
  const { page, settings } = visitor;
  const { run, delivery, url } = settings.story;
  await visitor.signIn();
  await visitor.open('#/deliveries', 'Deliveries');
  const row = page.getByRole('table', { name: 'Dead letters' }).getByRole('row', { name: run });
  await row.getByText(url).waitFor();
  await row.getByText(/^410/).waitFor();
  await visitor.assertAccessible('a dead letter');
  await visitor.picture('dead-letter');
  await row.getByRole('button', { name: `Send again: ${delivery}` }).click();
  await page.getByText('It is on its way again.').waitFor();
  await page.getByText('Nothing was given up.').waitFor();
  await page.reload();
  await page.getByText('Nothing was given up.').waitFor();
}

/** A run whose last execution begins and ends while it is looked at, without the page being read anew. */
export async function a_run_as_it_goes_on(visitor) {
  const { page, settings } = visitor;
  const { run, orchestrator, agent, failed, old } = settings.story;
  await visitor.signIn();
  await page.evaluate(() => { globalThis.readOnce = true; });

  // Every execution of the window is in the charts, also where a list would not have them all.
  await visitor.open('#/agents/script', 'Script');
  const charts = [
    page.getByRole('img', { name: `Executions by time and outcome: ${old + 1} completed, 1 handed off, ${failed} failed.` }),
    page.getByRole('img', { name: new RegExp(`^Latency of ${old + 2 + failed} executions: p50 .*, p95 .*, p99 `) }),
  ];
  for (const time of ['Last 24 hours', 'Last 7 days']) {
    await page.getByLabel('Time', { exact: true }).selectOption(time);
    for (const chart of charts) await chart.waitFor();
  }
  for (const [name, told] of [['Success', '99.7%'], ['Errors', '0.3%']]) {
    assert.equal(await page.locator('.tile').filter({ hasText: name }).locator('.tile-value').textContent(), told, name);
  }
  await page.getByText('Outcomes in numbers').click();
  const cells = await page.getByRole('table', { name: 'Executions by time and outcome' }).locator('tbody tr').evaluateAll((rows) =>
    rows.map((row) => [...row.querySelectorAll('td')].map((cell) => Number(cell.textContent))));
  const sums = cells.reduce((all, own) => all.map((sum, place) => sum + own[place]));
  assert.deepEqual(sums, [old + 1, 1, failed], 'completed, handed off, failed');
  await page.getByText('Outcomes in numbers').click();
  await visitor.inEveryLook((look) => visitor.assertFits(`charts-${look}`));

  await visitor.open(`#/runs/${orchestrator}/past`, 'past');
  await page.getByText('The run has more executions than are shown: these are its newest 200.').waitFor();
  await page.getByText('The run itself is forgotten').waitFor();

  const address = `#/runs/${orchestrator}/${run}`;
  await visitor.open(address, run);
  assert.ok(visitor.takeComplaints().every((complaint) => /status of 404/.test(complaint)), 'the run is not kept, and nothing else');
  await page.getByRole('img', { name: /^Timeline .*: 2 executions, 2 versions of the state, 0 handoffs,/ }).waitFor();
  await visitor.open('#/executions', 'Executions');
  const live = page.getByRole('table', { name: 'Executions' }).getByRole('row', { name: `${run} s3` });
  assert.equal(await live.count(), 0);
  await settings.tell('begin');
  await live.getByText('running').waitFor();
  await visitor.open(address, run);
  const step = page.getByRole('table', { name: 'Executions of this run' }).getByRole('row', { name: /^s3 / });
  await step.getByText('running').waitFor();
  await page.getByRole('img', { name: /^Timeline .*: 3 executions, 2 versions of the state, 1 handoff,/ }).waitFor();
  await settings.tell('end');
  await step.getByText('cancelled').waitFor();
  for (const [table, row] of [
    ['Versions of the state', /^1 step s1/],
    ['Versions of the state', /^2 step s2/],
    ['Handoffs', new RegExp(`^${agent} script `)],
    ['Steps', /^s2 script 1 handed off/],
  ]) {
    await page.getByRole('table', { name: table, exact: true }).getByRole('row', { name: row }).waitFor();
  }
  await visitor.inEveryLook((look) => visitor.assertFits(`timeline-${look}`));
  await visitor.open('#/executions', 'Executions');
  await live.getByText('cancelled').waitFor();
  assert.equal(await page.evaluate(() => globalThis.readOnce), true, 'the page was read anew');
}
