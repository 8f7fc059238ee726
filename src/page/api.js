// Calls of the gateway, by the session's cookie.

/** Why a call failed: the gateway's problem, or that there was no answer. */
export class Failure extends Error {
  constructor(problem) {
    super(problem.detail);
    this.title = problem.title;
    this.detail = problem.detail;
    this.status = problem.status;
    this.code = problem.code;
    this.errors = problem.errors ?? [];
    this.requestId = problem.request_id;
  }
}

/** Told when the session turns out to be over. */
export const signedOut = new EventTarget();

/** Calls the gateway. Answers the body's JSON, the header fields, and how long it took. */
export async function call(method, path, body, signal) {
  const begun = performance.now();
  const request = { method, signal, headers: { accept: 'application/json' }, cache: 'no-store' };
  if (body !== undefined) {
    request.headers['content-type'] = 'application/json';
    request.body = JSON.stringify(body);
  }
  const response = await answered(path, request);
  const text = await response.text();
  const data = parsed(text);
  if (!response.ok) {
    const failed = new Failure(data ?? { status: response.status, title: 'No answer of the gateway', detail: `status ${response.status}` });
    if (failed.code === 'session-invalid' || failed.code === 'signature-missing') {
      signedOut.dispatchEvent(new Event('over'));
    }
    throw failed;
  }
  return { data, headers: response.headers, ms: performance.now() - begun };
}

/** The JSON that a path answers. */
export async function read(path, signal) {
  return (await call('GET', path, undefined, signal)).data;
}

/** The same, but nothing where there is none of it. */
export async function readIfAny(path, signal) {
  try {
    return await read(path, signal);
  } catch (error) {
    if (error.status === 404) return undefined;
    throw error;
  }
}

/** A path of these segments. */
export function path(...segments) {
  const encode = (segment) => encodeURIComponent(segment).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return `/${segments.map(encode).join('/')}`;
}

async function answered(path, request) {
  try {
    return await fetch(path, request);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Failure({ title: 'The gateway does not answer.', detail: 'The connection failed: try again.' });
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
