// Signs a step by baton-request-v1, sends it, and believes the answer only if its signature holds. Node 20 or later.
//
//     npm install http-message-signatures@1.0.6
//     node docs/snippets/sign_step.mjs triage "I was charged twice"

import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSigner, createVerifier, httpbis } from 'http-message-signatures';

const [agent, text] = process.argv.slice(2);
const settings = JSON.parse(await readFile(process.env.BATON_KEY_FILE ?? '.dev/baton.json', 'utf8'));
const key = settings.key ?? settings; // the file of `cargo xtask dev`, or a bare key record
const gateway = process.env.BATON_GATEWAY ?? settings.gateway ?? 'http://127.0.0.1:8787';
const secret = Buffer.from(key.secret, 'base64');
const digest = (bytes) => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;

// The step. Its ids are yours; the idempotency key is a structured string, so it has quotes.
const [run, step] = [`run_${randomBytes(8).toString('hex')}`, 's1'];
const body = Buffer.from(JSON.stringify({ run, step, input: { text } }));
const unsigned = {
  method: 'POST',
  url: `${gateway}/agents/${agent}/steps`,
  headers: {
    'content-type': 'application/json',
    'content-digest': digest(body),
    'idempotency-key': `"${run}/${step}"`,
  },
};

// Sign: these components and parameters, all of them, every time. A retry is signed anew, with a new nonce.
const nonce = randomBytes(24).toString('base64url');
const request = await httpbis.signMessage({
  key: createSigner(secret, 'hmac-sha256', key.id),
  fields: ['@method', '@authority', '@path', '@query', 'content-type', 'content-digest', 'idempotency-key'],
  params: ['created', 'expires', 'nonce', 'keyid', 'alg', 'tag'],
  paramValues: { expires: new Date(Date.now() + 60_000), nonce, tag: 'baton-request-v1' },
}, unsigned);

// Send. An error is an answer as well, and it is signed as soon as the gateway knows who asks.
const reply = await fetch(request.url, { method: request.method, headers: request.headers, body }).catch((error) => {
  console.error(`no answer from ${gateway}: ${error.cause?.message ?? error.message}`);
  process.exit(1);
});
const answer = Buffer.from(await reply.arrayBuffer());
const response = { status: reply.status, headers: Object.fromEntries(reply.headers) };

// Verify: the answer is the gateway's, it is about this very request, and it covers all of this.
const covered = new Set();
let verified = false;
try {
  verified = await httpbis.verifyMessage({
    all: true,
    requiredParams: ['created', 'nonce', 'keyid', 'alg', 'tag'],
    maxAge: 300,
    tolerance: 60,
    keyLookup: async (parameters) =>
      parameters.tag === 'baton-response-v1' && parameters.nonce === nonce && parameters.keyid === key.id
        ? { algs: ['hmac-sha256'], verify: createVerifier(secret, 'hmac-sha256') }
        : null,
    componentParser: (name, parameters) => {
      covered.add(parameters.has('req') ? `${name};req` : name);
      return null; // the library takes the value from the message
    },
  }, response, request);
} catch (error) {
  console.error(error.message);
}
const required = [
  '@status', 'content-type', 'content-digest',
  '@method;req', '@authority;req', '@path;req', '@query;req', 'content-digest;req', 'idempotency-key;req',
];
if (!verified || !required.every((name) => covered.has(name)) || reply.headers.get('content-digest') !== digest(answer)) {
  console.error(`status ${reply.status}, not verified: nothing is known of the step\n${answer}`);
  process.exit(1);
}

console.log(JSON.stringify(JSON.parse(answer), null, 2));
process.exitCode = reply.status === 200 ? 0 : 1;
