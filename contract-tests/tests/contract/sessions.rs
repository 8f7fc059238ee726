//! Sessions of operators' browsers, without a browser: what a cookie is good for, and what makes it worthless.

use std::sync::OnceLock;

use contract_tests::answer::Answer;
use contract_tests::gateway::{Gateway, Options};
use contract_tests::message::Message;
use contract_tests::schemas::assert_fits;
use serde_json::json;

fn gateway() -> &'static Gateway {
    static GATEWAY: OnceLock<Gateway> = OnceLock::new();
    GATEWAY.get_or_init(|| Gateway::start(Options::with_operator()))
}

fn sign_in(key: &str) -> Message {
    Message::new(gateway(), "POST", "/session").signed(gateway().key(key))
}

/// Signs in, and answers what a browser sends along from then on.
fn cookie() -> String {
    let answer = sign_in("operator").send();
    assert!(answer.is_signed());
    let session = answer.message(200, "session");
    assert_eq!(session["key_id"], "operator");
    let field = answer.header("set-cookie").expect("a cookie");
    assert!(
        field.ends_with("; Path=/; Max-Age=900; HttpOnly; SameSite=Strict"),
        "{field}"
    );
    field.split(';').next().expect("a value").to_owned()
}

/// A call of a page of the gateway's.
fn of_page(method: &str, path: &str, cookie: &str) -> Message {
    let message = Message::new(gateway(), method, path).line("cookie", cookie);
    message.line("sec-fetch-site", "same-origin")
}

fn session_of(message: Message) -> Answer {
    let answer = message.send();
    assert_fits("session", &answer.json());
    answer
}

#[test]
fn a_cookie_stands_for_a_signature() {
    let cookie = cookie();
    let answer = of_page("GET", "/operator/dead-letters", &cookie).send();
    assert_eq!((answer.status(), answer.is_signed()), (200, false));
    assert_fits("dead-letters", &answer.json());
    assert_eq!(
        session_of(of_page("GET", "/session", &cookie)).json()["signed_in"],
        true
    );
    let answer = of_page("DELETE", "/session", &cookie).send();
    assert_eq!(answer.status(), 204);
    let field = answer.header("set-cookie").expect("a cookie");
    assert!(field.starts_with("baton-session=; Path=/; Max-Age=0;"), "{field}");
    let nobody = session_of(Message::new(gateway(), "GET", "/session"));
    assert_eq!((nobody.status(), nobody.json()), (200, json!({ "signed_in": false })));
}

#[test]
fn another_page_cannot_use_it() {
    let cookie = cookie();
    let path = "/operator/api-keys/0123456789abcdef";
    let from = |name: &str, value: &str| {
        Message::new(gateway(), "DELETE", path)
            .line("cookie", &cookie)
            .line(name, value)
            .send()
    };
    from("sec-fetch-site", "same-site").problem(403, "origin-not-allowed");
    from("sec-fetch-site", "cross-site").problem(403, "origin-not-allowed");
    from("origin", "http://127.0.0.1:1").problem(403, "origin-not-allowed");
    from("origin", "null").problem(403, "origin-not-allowed");
    let bare = Message::new(gateway(), "DELETE", path).line("cookie", &cookie);
    bare.send().problem(403, "origin-not-allowed");
    from("origin", &gateway().origin()).problem(404, "api-key-unknown");
    from("sec-fetch-site", "same-origin").problem(404, "api-key-unknown");
}

#[test]
fn what_is_no_good_opens_nothing() {
    let cookie = cookie();
    for bad in [
        "baton-session=x",
        &cookie.replace("operator", "first"),
        &format!("{cookie}x"),
    ] {
        of_page("GET", "/operator/api-keys", bad)
            .send()
            .problem(401, "session-invalid");
    }
    of_page("GET", "/runs/r", &cookie)
        .send()
        .problem(401, "signature-missing");
    of_page("POST", "/session", &cookie)
        .send()
        .problem(401, "signature-missing");
    sign_in("first").send().problem(403, "key-not-allowed");
}

#[test]
fn a_captured_sign_in_opens_nothing() {
    let message = sign_in("operator");
    assert_eq!(message.send().status(), 200);
    let again = message.send();
    assert_eq!(again.header("set-cookie"), None);
    again.problem(401, "signature-replayed");
}
