// Somebody in front of the page: what they do, and what their browser complains about meanwhile.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TABS_MAX = 80;
/** How the page is looked at: what the reader's system wants, and the screen. */
const LOOKS = [
  { name: 'light', media: { colorScheme: 'light' }, size: [1280, 860] },
  { name: 'dark', media: { colorScheme: 'dark' }, size: [1280, 860] },
  { name: 'narrow', media: { colorScheme: 'light', reducedMotion: 'reduce' }, size: [390, 844] },
];
const WAIT_MS = 15_000;

export class Visitor {
  /** A visitor with a browser profile of its own, at the page. */
  static async in(browser, settings) {
    const context = await browser.newContext({ baseURL: settings.origin, viewport: { width: 1280, height: 860 }, locale: 'en-GB' });
    context.setDefaultTimeout(WAIT_MS);
    await context.addInitScript(() => addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI} ${event.sample}`);
    }));
    const visitor = new Visitor(await context.newPage(), settings);
    await visitor.page.goto('/');
    return visitor;
  }

  constructor(page, settings) {
    this.page = page;
    this.settings = settings;
    this.complaints = [];
    this.sent = [];
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('request', (request) => this.sent.push(`${request.url()} ${JSON.stringify(request.headers())} ${request.postData() ?? ''}`));
  }

  heading(name) {
    return this.page.getByRole('heading', { level: 1, name });
  }

  /** Fills the form in and sends it. */
  async signInAs(key) {
    await this.page.getByLabel('Key id').fill(key.id);
    await this.page.getByLabel('Secret').fill(key.secret);
    await this.page.getByRole('button', { name: 'Sign in' }).click();
  }

  async signIn() {
    await this.signInAs(this.settings.keys.operator);
    await this.heading('Overview').waitFor();
  }

  /** Goes to a view, and waits until it is shown. */
  async open(hash, heading) {
    await this.page.goto(`/${hash}`);
    await this.heading(heading).waitFor();
  }

  /** Presses Tab until this has the focus. */
  async tabTo(locator) {
    for (let tab = 0; tab < TABS_MAX; tab += 1) {
      await this.page.keyboard.press('Tab');
      if (await locator.evaluate((element) => element === document.activeElement)) return;
    }
    assert.fail(`${locator} is not reached with ${TABS_MAX} tabs`);
  }

  /** Keeps a picture of the whole page. */
  async picture(name) {
    await this.page.evaluate(() => scrollTo(0, 0));
    await this.page.screenshot({ path: join(this.settings.screenshots, `${name}.png`), fullPage: true });
  }

  /** Fails where an automatic check finds the page hard to use for some. */
  async assertAccessible(what) {
    await this.page.evaluate(AXE);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
    const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html).join(' ')}`);
    assert.deepEqual(told, [], what);
  }

  /** Keeps a picture of the page as it is looked at, which is as wide as the screen and not hard to use. */
  async assertFits(name) {
    await this.assertAccessible(name);
    const overhang = await this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overhang, 0, `${name}: wider than the screen`);
    await this.picture(name);
  }

  /** Does this in light, in dark and on a narrow screen, and goes back to the first of them. */
  async inEveryLook(work) {
    for (const look of LOOKS) {
      await this.#lookAs(look);
      await work(look.name);
    }
    await this.#lookAs(LOOKS[0]);
  }

  async #lookAs({ media, size: [width, height] }) {
    await this.page.emulateMedia({ reducedMotion: null, ...media });
    await this.page.setViewportSize({ width, height });
  }

  /** What the browser complained about since it was asked last. */
  takeComplaints() {
    return this.complaints.splice(0);
  }

  assertNoComplaints() {
    assert.deepEqual(this.takeComplaints(), []);
  }

  /** Fails unless the browser complained of one answer of this status, and of nothing else. */
  assertComplainsOf(status) {
    const complaints = this.takeComplaints();
    assert.equal(complaints.length, 1, complaints.join('\n'));
    assert.match(complaints[0], new RegExp(`status of ${status}`));
  }

  /** The session's cookie, as the browser keeps it. */
  async cookie() {
    const cookies = await this.page.context().cookies();
    return cookies.find(({ name }) => name.endsWith('baton-session'));
  }
}
