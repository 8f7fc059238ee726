//! API keys: made, listed and revoked by an operator, and presented by customers.

use http::header::{AUTHORIZATION, RETRY_AFTER};

use super::*;
use crate::access::{Customer, Rate, RatePolicy};

/// A bench whose calls are an operator's.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.signer.set("operator");
    bench
}

fn create(body: &Value) -> Call {
    Call {
        body: body.to_string(),
        ..Call::new("POST", "/operator/api-keys")
    }
}

/// Makes a key; answers its id and its text.
fn created(bench: &Bench, body: &Value) -> (String, String) {
    let (status, key, record) = bench.call(&create(body));
    assert_eq!((status, record.problem), (201, None), "{key}");
    fits("api-key-created", &key);
    let text = |name: &str| key[name].as_str().expect("text").to_owned();
    (text("id"), text("api_key"))
}

fn fits(schema: &str, value: &Value) {
    let compiled = crate::wire::compiled(schema).expect("the schema");
    assert_eq!(compiled.get().expect("compiles").violations(value, 9), [], "{value}");
}

fn authenticate_from(bench: &Bench, address: &str, field: Option<&str>) -> Result<(Customer, Rate), Problem> {
    let gateway = bench.gateway();
    let mut headers = HeaderMap::new();
    if let Some(field) = field {
        headers.insert(AUTHORIZATION, field.parse().expect("a field"));
    }
    let occasion = Occasion {
        request_id: "r".into(),
        random: [7; 24],
        trace: None,
        address: address.into(),
    };
    block_on(gateway.authenticate(None, &headers, &occasion, &bench.platform))
}

fn authenticate(bench: &Bench, text: &str) -> Result<(Customer, Rate), Problem> {
    authenticate_from(bench, "203.0.113.7", Some(&format!("Bearer {text}")))
}

#[test]
fn a_new_key_is_its_customers() {
    let bench = bench();
    let rate = json!({"burst": 2, "per_minute": 60});
    let (id, text) = created(&bench, &json!({"name": "Acme", "agents": ["triage"], "rate": rate}));
    let (customer, rate) = authenticate(&bench, &text).expect("good");
    assert_eq!(customer.key, id);
    assert!(customer.authorise("triage").is_ok());
    assert_eq!(customer.authorise("redact"), Err(Problem::AgentNotAllowed));
    assert_eq!(
        (rate.policy, rate.limit, rate.remaining, rate.window_s),
        (RatePolicy::Key, 2, 1, 2)
    );
    authenticate(&bench, &text).expect("good");
    match authenticate(&bench, &text) {
        Err(problem @ Problem::RateLimited { .. }) => {
            assert_eq!((problem.status(), problem.retryable()), (429, true));
            let response = Reply::of_problem(&problem, "r").into_response("r");
            let field = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
            assert_eq!(field(RETRY_AFTER.as_str()), "1");
            assert_eq!(field("ratelimit"), "\"key\";r=0;t=2");
            assert_eq!(field("ratelimit-policy"), "\"key\";q=2;w=2");
        }
        other => panic!("{other:?}"),
    }
    bench.platform.now_ms.set(bench.platform.now_ms() + 1_000);
    authenticate(&bench, &text).expect("good");
}

#[test]
fn without_a_wish_a_key_is_for_all_agents_and_has_no_end() {
    let bench = bench();
    let (_, key, _) = bench.call(&create(&json!({"name": "Acme"})));
    assert_eq!(
        (&key["agents"], &key["rate"], &key["expires_at_ms"]),
        (&json!(["*"]), &json!({"burst": 60, "per_minute": 60}), &Value::Null)
    );
}

#[test]
fn a_key_that_is_not_good_is_refused_in_one_way() {
    let bench = bench();
    let now_ms = bench.platform.now_ms();
    let (id, text) = created(&bench, &json!({"name": "Acme", "expires_at_ms": now_ms + 1}));
    authenticate(&bench, &text).expect("good");
    let unknown = text.replace(&id, "0000000000000000");
    let secret_of_another = format!("baton_{id}_{}", "A".repeat(43));
    bench.platform.now_ms.set(now_ms + 1);
    let kept = bench.platform.keys.borrow().len();
    for text in [&unknown, &secret_of_another, &text, "no key", ""] {
        let problem = authenticate(&bench, text).expect_err(text);
        assert_eq!((problem.code(), problem.status()), ("api-key-invalid", 401), "{text}");
        let response = Reply::of_problem(&problem, "r").into_response("r");
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            "Bearer realm=\"baton\", error=\"invalid_token\""
        );
    }
    assert_eq!(
        bench.platform.keys.borrow().len(),
        kept,
        "nothing is kept of unknown keys"
    );
    for field in [None, Some("Basic YTpi")] {
        let problem = authenticate_from(&bench, "203.0.113.7", field).expect_err("no key");
        assert_eq!((problem.code(), problem.status()), ("api-key-missing", 401));
        let response = Reply::of_problem(&problem, "r").into_response("r");
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer realm=\"baton\"");
    }
}

#[test]
fn whoever_tries_keys_is_slowed_down() {
    let bench = bench();
    let (_, text) = created(&bench, &json!({"name": "Acme"}));
    for attempt in 0..20 {
        let problem = authenticate(&bench, "no key").expect_err("no key");
        assert_eq!(problem, Problem::ApiKeyInvalid, "{attempt}");
    }
    // A good key helps no more: else the address could go on trying.
    for text in ["no key", &text] {
        match authenticate(&bench, text) {
            Err(Problem::RateLimited { rate, retry_after_ms }) => {
                assert_eq!(
                    (rate.policy, rate.limit, retry_after_ms),
                    (RatePolicy::Address, 20, 3_000)
                );
            }
            other => panic!("{other:?}"),
        }
    }
    let field = format!("Bearer {text}");
    authenticate_from(&bench, "203.0.113.8", Some(&field)).expect("another address");
    bench.platform.now_ms.set(bench.platform.now_ms() + 3_000);
    authenticate(&bench, &text).expect("a try is there again");
}

#[test]
fn a_revoked_key_is_refused_and_stays_listed() {
    let bench = bench();
    let (id, text) = created(&bench, &json!({"name": "Acme"}));
    bench.platform.now_ms.set(bench.platform.now_ms() + 1);
    let (second, _) = created(&bench, &json!({"name": "Beta"}));
    let revoke = |id: &str| bench.send(&Call::new("DELETE", &format!("/operator/api-keys/{id}"))).0;
    for _ in 0..2 {
        let response = revoke(&id);
        assert_eq!((response.status().as_u16(), response.body().len()), (204, 0));
    }
    assert_eq!(authenticate(&bench, &text), Err(Problem::ApiKeyInvalid));
    for unknown in ["0000000000000000", "x"] {
        assert_eq!(revoke(unknown).status().as_u16(), 404);
    }
    let (status, list, _) = bench.call(&Call::new("GET", "/operator/api-keys"));
    assert_eq!(status, 200);
    fits("api-keys", &list);
    assert_eq!(
        (&list["api_keys"][0]["id"], &list["api_keys"][1]["id"]),
        (&json!(second), &json!(id))
    );
    assert_eq!(list["api_keys"][1]["revoked_at_ms"], NOW_S * 1_000 + 1);
    assert!(!list.to_string().contains("baton_"), "no text of a key");
    let (_, page, _) = bench.call(&Call::new("GET", "/operator/api-keys?limit=1"));
    let next = page["next"].as_str().expect("another page");
    let (_, last, _) = bench.call(&Call::new("GET", &format!("/operator/api-keys?limit=1&cursor={next}")));
    assert_eq!((&last["api_keys"][0]["id"], &last["next"]), (&json!(id), &Value::Null));
    for query in ["limit=0", "limit=101", "cursor=x"] {
        bench.check(
            &Call::new("GET", &format!("/operator/api-keys?{query}")),
            400,
            "path-invalid",
        );
    }
}

#[test]
fn only_an_operator_makes_keys() {
    let bench = Bench::new();
    let revoke = Call::new("DELETE", "/operator/api-keys/0123456789abcdef");
    for call in [
        create(&json!({"name": "Acme"})),
        Call::new("GET", "/operator/api-keys"),
        revoke,
    ] {
        let (response, record) = bench.handle(&bench.sign(&call).0);
        assert_eq!(
            (response.status().as_u16(), record.problem),
            (403, Some("key-not-allowed"))
        );
    }
}

#[test]
fn a_captured_request_makes_no_other_key() {
    let bench = bench();
    let (request, _) = bench.sign(&create(&json!({"name": "Acme"})));
    assert_eq!(bench.handle(&request).0.status(), 201);
    let (response, record) = bench.handle(&request);
    assert_eq!(
        (response.status().as_u16(), record.problem),
        (401, Some("signature-replayed"))
    );
    assert_eq!(bench.platform.keys.borrow().len(), 1);
}

#[test]
fn what_is_wrong_with_a_wish_is_said() {
    let bench = bench();
    let now_ms = bench.platform.now_ms();
    let check = |body: &Value, place: &str| {
        let (status, problem, _) = bench.call(&create(body));
        assert_eq!(
            (status, problem["code"].as_str()),
            (422, Some("schema-violated")),
            "{body}"
        );
        assert_eq!(problem["errors"][0]["instance"], place, "{body}");
    };
    check(&json!({"name": "Acme", "expires_at_ms": now_ms}), "/expires_at_ms");
    check(&json!({"name": "Acme", "agents": ["triage", "nobody"]}), "/agents/1");
    check(&json!({"name": "Acme", "agents": ["triage", "*"]}), "/agents/1");
    check(&json!({"name": "Acme", "agents": []}), "/agents");
    check(&json!({"name": ""}), "/name");
    check(&json!({"name": "n".repeat(129)}), "/name");
    check(
        &json!({"name": "Acme", "rate": {"burst": 0, "per_minute": 1}}),
        "/rate/burst",
    );
    check(
        &json!({"name": "Acme", "rate": {"burst": 1, "per_minute": 60_001}}),
        "/rate/per_minute",
    );
    let most = json!({"name": "ä".repeat(128), "rate": {"burst": 10_000, "per_minute": 60_000}});
    created(&bench, &most);
    assert_eq!(bench.platform.keys.borrow().len(), 1);
}

#[test]
fn a_storage_that_fails_is_said() {
    let bench = bench();
    bench.platform.faults.replace(vec![Fault::BeforeDoing]);
    bench.check(&create(&json!({"name": "Acme"})), 503, "storage-unavailable");
    bench.platform.faults.replace(vec![Fault::BeforeDoing]);
    assert_eq!(authenticate(&bench, "no key"), Err(Problem::StorageUnavailable));
}
