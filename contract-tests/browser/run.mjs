// Runs one scenario of the operator's page in a real Chromium: `node run.mjs NAME`, with its settings as JSON in
// BATON_TEST_PAGE. It ends with 0 where the scenario holds, and else says what does not.

import { chromium } from 'playwright-core';

import * as history from './history.mjs';
import * as scenarios from './scenarios.mjs';
import { Visitor } from './visitor.mjs';

const settings = JSON.parse(process.env.BATON_TEST_PAGE);
// What the test does meanwhile, once it is told to.
settings.tell = (what) => fetch(`${settings.story.told}/${what}`, { method: 'POST' });
const scenario = { ...scenarios, ...history }[process.argv[2]];
if (!scenario) throw new Error(`no scenario of the name ${process.argv[2]}`);

const browser = await chromium.launch({ executablePath: settings.chromium, args: ['--disable-dev-shm-usage', '--font-render-hinting=none'] });
try {
  const visitor = await Visitor.in(browser, settings);
  await scenario(visitor);
  visitor.assertNoComplaints();
} finally {
  await browser.close();
}
