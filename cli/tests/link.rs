//! `baton link`, against a gateway that gives prepared answers.

mod common;

use common::gateway::{Gateway, Reply};
use common::{Run, baton, file, folder};

const LINK: &str = r#"{"orchestrator":"acme","url":"https://acme.example","state":"STATE","failures":0,"breaker":{"state":"closed","forced":true}}"#;

fn link(state: &str) -> String {
    LINK.replace("STATE", state)
}

fn links(ids: &[&str]) -> String {
    let all: Vec<_> = ids.iter().map(|id| link("registered").replace("acme", id)).collect();
    format!(r#"{{"links":[{}]}}"#, all.join(","))
}

/// Runs the command against a gateway with these answers; tells what was asked of it.
fn ask(name: &str, answers: &[(u16, String)], arguments: &[&str]) -> (Run, Vec<String>) {
    let key = r#"{"id":"operator","orchestrator":"acme","purposes":["operate"],"secret":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}"#;
    let replies = answers.iter().map(|(status, body)| {
        let body: &'static str = body.clone().leak();
        Reply::Plain(*status, Vec::new(), body, |_| {})
    });
    let gateway = Gateway::new(key, replies.collect());
    let key = file(&folder(name), "key.json", key);
    let run = baton(&[&["link"], arguments, &["--key", &key, "--gateway", &gateway.origin]].concat());
    let requests = gateway.requests().into_iter();
    let asked = requests.map(|request| {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        format!("{} {} {body}", request.method(), request.uri().path())
            .trim_end()
            .to_owned()
    });
    (run, asked.collect())
}

#[test]
fn status_shows_all_links_or_one() {
    let (run, asked) = ask("link-all", &[(200, links(&["acme", "other"]))], &["status"]);
    let said = [
        "acme  registered",
        "other  registered",
        "breaker closed, held by an operator",
        "signature verified with key operator",
    ];
    run.expect(0, &said);
    assert_eq!(asked, ["GET /operator/links"]);
    let (run, asked) = ask("link-one", &[(200, link("refused"))], &["status", "acme"]);
    run.expect(0, &["acme  refused  https://acme.example"]);
    assert_eq!(asked, ["GET /operator/links/acme"]);
    let (run, _) = ask("link-none", &[(200, links(&[]))], &["status"]);
    run.expect(0, &["no orchestrator is configured"]);
}

#[test]
fn commands_say_what_they_came_to() {
    for (command, state, exit) in [
        ("register", "registered", 0),
        ("register", "refused", 1),
        ("drain", "draining", 0),
        ("drain", "registered", 1),
        ("deregister", "deregistered", 0),
        ("deregister", "draining", 1),
    ] {
        let name = format!("link-{command}-{state}");
        let (run, asked) = ask(&name, &[(200, link(state))], &[command, "acme"]);
        run.expect(exit, &[&format!("acme  {state}")]);
        assert_eq!(asked, [format!("POST /operator/links/acme/{command}")]);
    }
    let unknown = r#"{"title":"Unknown orchestrator","status":404,"code":"orchestrator-unknown"}"#;
    let (run, _) = ask("link-unknown", &[(404, unknown.to_owned())], &["drain", "nobody"]);
    run.expect(3, &["orchestrator-unknown"]);
}

#[test]
fn the_only_orchestrator_need_not_be_named() {
    let answers = [(200, links(&["acme"])), (200, link("draining"))];
    let (run, asked) = ask("link-only", &answers, &["drain"]);
    run.expect(0, &["acme  draining"]);
    assert_eq!(asked, ["GET /operator/links", "POST /operator/links/acme/drain"]);
    let (run, _) = ask("link-two", &[(200, links(&["acme", "other"]))], &["drain"]);
    run.expect(2, &["name one of acme, other"]);
    let refused = r#"{"title":"Not allowed","status":403,"code":"key-not-allowed"}"#;
    let (run, _) = ask("link-refused", &[(403, refused.to_owned())], &["drain"]);
    run.expect(3, &["key-not-allowed"]);
}

#[test]
fn the_breaker_is_held_and_let_go() {
    for state in ["open", "closed", "auto"] {
        let name = format!("link-breaker-{state}");
        let (run, asked) = ask(&name, &[(200, link("registered"))], &["breaker", state, "acme"]);
        run.expect(0, &["breaker closed, held by an operator"]);
        assert_eq!(
            asked,
            [format!(r#"POST /operator/links/acme/breaker {{"state":"{state}"}}"#)]
        );
    }
    baton(&["link", "breaker", "shut", "acme"]).expect(2, &["open", "closed", "auto"]);
}
