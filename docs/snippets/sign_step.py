"""Signs a step by baton-request-v1, sends it, and believes the answer only if its signature holds.

    python3 -m pip install http-message-signatures==3.0.0
    python3 docs/snippets/sign_step.py triage "I was charged twice"
"""

import base64
import datetime
import json
import os
import pathlib
import secrets
import sys
import urllib.error
import urllib.request
from types import SimpleNamespace

from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver
from http_message_signatures.algorithms import HMAC_SHA256

agent, text = sys.argv[1:]
settings = json.loads(pathlib.Path(os.environ.get("BATON_KEY_FILE", ".dev/baton.json")).read_text())
key = settings.get("key", settings)  # the file of `cargo xtask dev`, or a bare key record
gateway = os.environ.get("BATON_GATEWAY", settings.get("gateway", "http://127.0.0.1:8787"))
secret = {key["id"]: base64.b64decode(key["secret"])}
keys = MappingKeyResolver(private_keys=secret, public_keys=secret)

# The step. Its ids are yours; the idempotency key is a structured string, so it has quotes.
run, step = f"run_{secrets.token_hex(8)}", "s1"
body = json.dumps({"run": run, "step": step, "input": {"text": text}}).encode()
headers = {"Content-Type": "application/json", "Idempotency-Key": f'"{run}/{step}"'}
request = SimpleNamespace(method="POST", url=f"{gateway}/agents/{agent}/steps", headers=headers)

# Sign: these components and parameters, all of them, every time. A retry is signed anew, with a new nonce.
nonce = secrets.token_urlsafe(24)
now = datetime.datetime.now(datetime.timezone.utc)
HTTPMessageSigner(signature_algorithm=HMAC_SHA256, key_resolver=keys).sign(
    request,
    key_id=key["id"],
    created=now,
    expires=now + datetime.timedelta(seconds=60),
    nonce=nonce,
    tag="baton-request-v1",
    covered_component_ids=[
        "@method", "@authority", "@path", "@query", "content-type", "content-digest", "idempotency-key",
    ],
    body=body,  # adds Content-Digest
)

# Send. An error is an answer as well, and it is signed as soon as the gateway knows who asks.
try:
    reply = urllib.request.urlopen(urllib.request.Request(request.url, body, headers, method="POST"))
except urllib.error.HTTPError as error:
    reply = error
except urllib.error.URLError as error:
    sys.exit(f"no answer from {gateway}: {error.reason}")
answer = reply.read()

# Verify: the answer is the gateway's, it is about this very request, and it covers all of this.
verifier = HTTPMessageVerifier(signature_algorithm=HMAC_SHA256, key_resolver=keys)
verifier.max_clock_skew = datetime.timedelta(seconds=60)
response = SimpleNamespace(status_code=reply.status, headers=reply.headers, request=request)
try:
    [verified] = verifier.verify(
        response,
        expect_tag="baton-response-v1",
        max_age=datetime.timedelta(seconds=300),
        require_components=[
            "@status", "content-type", "content-digest",
            '"@method";req', '"@authority";req', '"@path";req', '"@query";req',
            '"content-digest";req', '"idempotency-key";req',
        ],
        body=answer,  # checks Content-Digest
    )
    if verified.nonce != nonce or verified.parameters["keyid"] != key["id"]:
        raise ValueError("the answer is signed for another request or by another key")
except Exception as error:
    sys.exit(f"status {reply.status}, not verified ({error}): nothing is known of the step\n{answer.decode()}")

print(json.dumps(json.loads(answer), indent=2))
sys.exit(0 if reply.status == 200 else 1)
