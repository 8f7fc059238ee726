//! A MAC that does not hold: the mistakes that signers usually make, tried out one after the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use baton::signature::{digest, mac, webhook};

use super::Explanation;
use super::evidence::{Evidence, text};

/// Says what is known about a MAC that does not hold.
pub fn explain_invalid(evidence: &Evidence<'_>) -> Explanation {
    let id = text(&evidence.parameters(), "keyid")
        .or_else(|| webhook::key_id(evidence.request.query).map(str::to_owned))
        .unwrap_or_default();
    let Some(key) = evidence.signing_key() else {
        let known: Vec<_> = evidence.keyring.iter().map(|record| record.id.as_str()).collect();
        return Explanation::default()
            .with("key named", id)
            .with("keys at hand", known.join(", "))
            .advise("Sign with a key at hand, or give --key the file that has this one. A gateway says the same to an unknown key and to a wrong signature.");
    };
    let explanation = Explanation::default().with("key", id);
    let Some(found) = evidence.found() else {
        return explanation.advise("The sender's secret must be the one that `baton keys webhook-secret AGENT` prints for this key, over `id.timestamp.body`.");
    };
    if evidence.status.is_some() {
        let request = baton::signature::profile::find(evidence.request.headers, baton::signature::profile::REQUEST_TAG);
        if let Ok(request) = request
            && (request.parameters.nonce != found.parameters.nonce
                || request.parameters.key_id != found.parameters.key_id)
        {
            return explanation
                .with("request's nonce", request.parameters.nonce)
                .with("response's nonce", found.parameters.nonce)
                .advise("This response answers another request: nonce and keyid must be the request's.");
        }
    }
    let Ok(base) = evidence.base() else {
        return explanation;
    };
    let secret = key.secret.bytes();
    for (mistake, base) in variations(&base, evidence) {
        if mac::verify(secret, base.as_bytes(), &found.mac) {
            return explanation.advise(&mistake);
        }
    }
    if mac::verify(STANDARD.encode(secret).as_bytes(), base.as_bytes(), &found.mac) {
        return explanation.advise("The signer uses the secret as base64 text: decode it first, the key is the bytes.");
    }
    explanation.advise(
        "The secret differs, or something that is covered was changed after signing. Compare the signer's base with the one that --show-base prints, byte by byte.",
    )
}

/// Bases as signers get them wrong.
fn variations(base: &str, evidence: &Evidence<'_>) -> Vec<(String, String)> {
    let mut variations = vec![
        (
            "The signer leaves the `?` out of @query: it is part of the value, also where there is no query."
                .to_owned(),
            base.replace("\"@query\": ?", "\"@query\": ")
                .replace("\"@query\";req: ?", "\"@query\";req: "),
        ),
        (
            "The signer ends the base with a line feed: the last line, @signature-params, has none.".to_owned(),
            format!("{base}\n"),
        ),
        (
            "The signer ends lines with CRLF: the base is joined by a line feed alone.".to_owned(),
            base.replace('\n', "\r\n"),
        ),
        (
            "The signer writes @method in lower case.".to_owned(),
            base.replace(
                &format!("\"@method\": {}", evidence.request.method),
                &format!("\"@method\": {}", evidence.request.method.to_lowercase()),
            ),
        ),
    ];
    if evidence.status.is_none() {
        let right = digest::content_digest(evidence.body);
        let sent = evidence.field("content-digest");
        variations.push((
            "Content-Digest was changed after signing: the signature holds for the digest of this body.".to_owned(),
            base.replace(&sent, &right),
        ));
        let authority = format!("\"@authority\": {}", evidence.request.authority.to_lowercase());
        if let Some((host, _)) = authority.rsplit_once(':').filter(|(host, _)| host.contains(": ")) {
            variations.push((
                "The signer leaves the port out of @authority: it belongs there unless it is the scheme's own."
                    .to_owned(),
                base.replace(&authority, host),
            ));
        }
        for port in [":80", ":443"] {
            variations.push((
                "The signer puts the scheme's own port into @authority: leave it out.".to_owned(),
                base.replace(&authority, &format!("{authority}{port}")),
            ));
        }
        for query in evidence.request.query.into_iter().filter(|query| !query.is_empty()) {
            variations.push((
                "The signer signs without the query that is sent.".to_owned(),
                base.replace(&format!("\"@query\": ?{query}"), "\"@query\": ?"),
            ));
        }
    }
    variations
}
