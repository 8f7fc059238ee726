//! The surface as anyone sees it: methods, media types, sizes, documents, problems.

use contract_tests::answer::Answer;
use contract_tests::gateway::shared;
use contract_tests::message::Message;
use contract_tests::outside::fresh;
use contract_tests::schemas::assert_fits;
use serde_json::{Value, json};

use crate::support::{assert_no_effect, key};

const DISCOVERY: &str = "/.well-known/baton.json";
const DOCUMENTS: [&str; 2] = [DISCOVERY, "/openapi.json"];

/// The discovery manifest.
pub fn discovery() -> Value {
    get(DISCOVERY).json()
}

#[track_caller]
fn get(path: &str) -> Answer {
    let answer = Message::new(&shared(), "GET", path).send();
    assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
    answer
}

#[track_caller]
fn call(method: &str, path: &str) -> Answer {
    Message::new(&shared(), method, path).send()
}

#[test]
fn health_says_which_gateway_is_well() {
    let answer = get("/healthz");
    assert_fits("health", &answer.json());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert!(answer.header("x-request-id").is_some());
}

#[test]
fn health_that_the_client_knows_is_not_sent_again() {
    let etag = get("/healthz").header("etag").expect("an entity tag").to_owned();
    let again = Message::new(&shared(), "GET", "/healthz")
        .line("if-none-match", &etag)
        .send();
    assert_eq!((again.status(), again.text().as_str()), (304, ""));
}

#[test]
fn documents_fit_their_schemas() {
    assert_fits("discovery", &get(DISCOVERY).json());
    assert_fits("openapi", &get("/openapi.json").json());
}

#[test]
fn documents_name_the_origin_that_they_are_served_at() {
    assert_eq!(discovery()["gateway"]["origin"], shared().origin());
    assert_eq!(get("/openapi.json").json()["servers"][0]["url"], shared().origin());
}

#[test]
fn a_document_that_the_client_has_is_not_sent_again() {
    for path in DOCUMENTS {
        let whole = get(path);
        let etag = whole.header("etag").expect("an entity tag").to_owned();
        assert!(etag.starts_with('"') && etag.ends_with('"'), "a strong one: {etag}");
        assert!(
            whole
                .header("cache-control")
                .is_some_and(|value| value.starts_with("public, max-age=")),
            "{whole:?}"
        );
        for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
            let answer = Message::new(&shared(), "GET", path)
                .line("if-none-match", &known)
                .send();
            assert_eq!(answer.status(), 304, "{path} {known}");
            assert_eq!(answer.header("etag"), Some(etag.as_str()));
            assert_eq!(answer.text(), "");
        }
        let answer = Message::new(&shared(), "GET", path)
            .line("if-none-match", "\"another\"")
            .send();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.response.body, whole.response.body);
    }
}

#[test]
fn head_is_get_without_a_body() {
    for path in [DISCOVERY, "/openapi.json", "/healthz"] {
        let (head, whole) = (call("HEAD", path), get(path));
        assert_eq!(head.status(), 200, "{path}");
        assert_eq!(head.text(), "", "{path}");
        for name in ["content-type", "etag", "cache-control"] {
            assert_eq!(head.header(name), whole.header(name), "{path} {name}");
        }
    }
    let etag = get(DISCOVERY).header("etag").map(str::to_owned).expect("an entity tag");
    let known = Message::new(&shared(), "HEAD", DISCOVERY).line("if-none-match", &etag);
    assert_eq!(known.send().status(), 304);
    for (path, status) in [("/nothing", 404), ("/agents/echo/steps", 405), ("/link/challenge", 405)] {
        let head = call("HEAD", path);
        assert_eq!(head.status(), status, "{path}");
        assert_eq!(head.text(), "", "{path}");
    }
}

#[test]
fn an_unknown_path_is_a_404() {
    for path in [
        "/page",
        "/nothing",
        "/agents",
        "/agents/echo",
        "/agents//steps",
        "/healthz/",
        "/agents/echo/steps/x",
    ] {
        let problem = call("GET", path).problem(404, "not-found");
        assert_eq!(problem["retryable"], false);
        call("POST", path).problem(404, "not-found");
    }
}

#[test]
fn another_method_is_a_405_that_says_which_there_are() {
    let allowed = |path: &str| {
        if path.starts_with("/agents") || path.starts_with("/link") {
            "POST"
        } else {
            "GET, HEAD"
        }
    };
    for path in [
        DISCOVERY,
        "/openapi.json",
        "/healthz",
        "/agents/echo/steps",
        "/link/challenge",
    ] {
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "POST", "GET"] {
            if allowed(path).split(", ").any(|known| known == method) {
                continue;
            }
            let answer = call(method, path);
            answer.problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), Some(allowed(path)), "{method} {path}");
        }
    }
}

#[test]
fn every_problem_has_its_own_request_id() {
    let ids: Vec<_> = (0..2)
        .map(|_| call("GET", "/nothing").problem(404, "not-found")["request_id"].clone())
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_body_that_says_to_be_something_else_is_a_415() {
    let step = crate::support::step;
    for media_type in [
        "text/plain",
        "application/jsonp",
        "application/json+x",
        "",
        "multipart/form-data",
    ] {
        let message = step().header("content-type", media_type).signed(key("first"));
        message.send().problem(415, "media-type-unsupported");
        assert_no_effect(&message.body);
    }
    let message = step()
        .without("content-type")
        .uncover("content-type")
        .signed(key("first"));
    message.send().problem(415, "media-type-unsupported");
}

/// A step whose body has exactly this many bytes, most of them white space.
fn step_of_size(bytes: usize) -> Message {
    let mut body = json!({ "run": fresh(), "step": "s1", "input": {} }).to_string();
    body.push_str(&" ".repeat(bytes - body.len()));
    Message::new(&shared(), "POST", "/agents/echo/steps")
        .with_json(body.as_bytes())
        .idempotency_key(&fresh())
        .signed(key("first"))
}

fn body_max_bytes() -> usize {
    let max = discovery()["limits"]["body_max_bytes"].as_u64().expect("a limit");
    assert_eq!(max, 1024 * 1024);
    usize::try_from(max).expect("a size")
}

#[track_caller]
fn check_too_large(answer: &Answer) {
    let problem = answer.problem(413, "body-too-large");
    let detail = problem["detail"].as_str().expect("text");
    assert!(detail.contains("1048576"), "{detail}");
    assert!(!answer.is_signed());
}

#[test]
fn a_body_of_the_largest_size_is_accepted() {
    let _ = step_of_size(body_max_bytes()).send().completed();
    let _ = step_of_size(body_max_bytes()).chunked().send().completed();
}

/// By one byte: of a body that is much larger the runtime ends the connection before its sender is ready to read.
#[test]
fn a_body_that_is_too_large_is_refused() {
    for chunked in [false, true] {
        let mut step = step_of_size(body_max_bytes() + 1);
        step.chunked = chunked;
        check_too_large(&step.send());
        assert_no_effect(&step.body);
    }
}

#[test]
fn where_no_body_is_taken_none_is_accepted() {
    let read = Message::new(&shared(), "GET", "/healthz").body(b"x");
    read.send().problem(413, "body-too-large");
}

#[test]
fn every_endpoint_of_the_manifest_exists() {
    let manifest = discovery();
    let endpoints = manifest["endpoints"].as_array().expect("endpoints");
    assert!(!endpoints.is_empty());
    let openapi = get("/openapi.json").json();
    for endpoint in endpoints {
        let text = |name: &str| endpoint[name].as_str().expect("text");
        let mut path = text("path").replace("{agent}", "triage");
        for parameter in [
            "{run}",
            "{step}",
            "{delivery}",
            "{key}",
            "{letter}",
            "{orchestrator}",
            "{version}",
            "{conversation}",
            "{owner}",
        ] {
            path = path.replace(parameter, "one%20of%2Fthem");
        }
        assert!(!path.contains('{'), "a parameter that this test does not know: {path}");
        // Its method is one of those that the path answers to, and no other.
        let allow = call("TRACE", &path);
        let allow = if allow.status() == 405 {
            allow
        } else {
            call("PATCH", &path)
        };
        let allow = allow.header("allow").unwrap_or_default().to_owned();
        assert!(
            allow.split(", ").any(|known| known == text("method")),
            "{endpoint}: {allow}"
        );
        // Who does not sign is let in where the manifest says so.
        let operation = &openapi["paths"][text("path")][text("method").to_lowercase()];
        let mut message = Message::new(&shared(), text("method"), &path);
        if operation["requestBody"].is_object() {
            message = message.with_json(b"{}");
        }
        let answer = message.send();
        let expected = if text("access") == "open" { 200 } else { 401 };
        assert_eq!(answer.status(), expected, "{endpoint}: {}", answer.text());
    }
}

#[test]
fn every_agent_of_the_manifest_takes_steps_where_it_says() {
    let manifest = discovery();
    for agent in manifest["agents"].as_array().expect("agents") {
        let path = agent["steps"].as_str().expect("a path");
        let body = json!({ "run": fresh(), "step": "s1" });
        let answer = Message::post(&shared(), path, &body)
            .idempotency_key(&fresh())
            .signed(key("first"))
            .send();
        // Known, and asking for its input.
        answer.problem(422, "schema-violated");
    }
}

#[test]
fn the_openapi_document_has_the_endpoints_of_the_manifest() {
    let openapi = get("/openapi.json").json();
    let mut described: Vec<_> = openapi["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("operations").keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let manifest = discovery();
    let endpoints = manifest["endpoints"].as_array().expect("endpoints");
    let mut listed: Vec<_> = endpoints
        .iter()
        .map(|endpoint| {
            let text = |name: &str| endpoint[name].as_str().expect("text");
            format!("{} {}", text("method"), text("path"))
        })
        .collect();
    described.sort();
    listed.sort();
    assert_eq!(described, listed);
}
