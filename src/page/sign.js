// Signs in: one request with a signature of the operator's key (baton-request-v1, docs/protocol.md). The key is in this
// function's hands for as long as that takes, and never leaves the browser.

import { Failure } from './api.js';

const WINDOW_S = 60;
const SECRET_MIN_BYTES = 32;

/** Signs in with a key's id and its secret in base64. Answers the session. */
export async function signIn(keyId, secret) {
  if (!crypto.subtle) {
    throw new Failure({ title: 'This browser cannot sign here.', detail: 'It does so at addresses with https, and on this machine, only.' });
  }
  const key = await imported(secret.trim());
  const parameters = signatureParameters(keyId.trim());
  const base = [
    '"@method": POST',
    `"@authority": ${location.host}`,
    '"@path": /session',
    '"@query": ?',
    `"@signature-params": ${parameters}`,
  ].join('\n');
  const mac = await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(base));
  const response = await fetch('/session', {
    method: 'POST',
    cache: 'no-store',
    headers: { 'signature-input': `sig1=${parameters}`, signature: `sig1=:${base64(new Uint8Array(mac))}:` },
  });
  const body = await response.json();
  if (response.ok) return body;
  throw new Failure({ ...body, ...explained(body) });
}

async function imported(secret) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(secret), (c) => c.charCodeAt(0));
  } catch {
    throw new Failure({ title: 'The secret is not base64.', detail: 'Paste it as `baton keys new` printed it.' });
  }
  if (bytes.length < SECRET_MIN_BYTES) {
    throw new Failure({ title: 'The secret is too short.', detail: `It has ${bytes.length} bytes; a key has at least ${SECRET_MIN_BYTES}.` });
  }
  const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  bytes.fill(0);
  return key;
}

function signatureParameters(keyId) {
  if (!/^[A-Za-z0-9\-._~:@/]{1,128}$/.test(keyId)) {
    throw new Failure({ title: 'This is no key id.', detail: 'It has ASCII letters, digits and -._~:@/ only.' });
  }
  const created = Math.floor(Date.now() / 1_000);
  const nonce = base64(crypto.getRandomValues(new Uint8Array(24))).replaceAll('+', '-').replaceAll('/', '_');
  return '("@method" "@authority" "@path" "@query")' +
    `;created=${created};expires=${created + WINDOW_S};nonce="${nonce}";keyid="${keyId}";alg="hmac-sha256";tag="baton-request-v1"`;
}

/** What the gateway's reasons mean to somebody at this form. */
function explained(problem) {
  switch (problem.code) {
    case 'signature-invalid':
      return { title: 'Key id and secret do not fit.', detail: 'The gateway knows no key of this id with this secret.' };
    case 'key-not-allowed':
      return { title: 'This key is not an operator’s.', detail: 'Sign in with a key of the purpose “operate”.' };
    case 'signature-expired':
    case 'signature-not-yet-valid':
      return { title: 'The clocks differ.', detail: 'This machine’s clock is more than a minute away from the gateway’s: set it, and try again.' };
    default:
      return {};
  }
}

function base64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}
