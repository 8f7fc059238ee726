//! The request: templates filled in, each value kept to its place.

use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use super::super::call::not_allowed;
use super::super::{Failure, misconfigured};
use crate::connections::Connections;
use crate::gateway::segment;
use crate::manifest::{self, Exchange, HttpTemplates, RenderError, Template};

/// Makes the request for an input.
pub(super) fn make(
    config: &Exchange,
    templates: &HttpTemplates,
    base: &str,
    values: (&Value, Option<&Value>),
    connections: &Connections,
) -> Result<http::Request<Vec<u8>>, Failure> {
    let render = |template: &Template| {
        let (input, state) = values;
        template.render(input, state).map_err(|error| unfit(&error))
    };
    let mut url = base.to_owned();
    for template in &templates.path {
        let text = text_of(&render(template)?);
        // A URL parser would take these for steps up the path, also percent-encoded.
        let text = text.filter(|text| !matches!(text.as_str(), "" | "." | ".."));
        let text = text.ok_or_else(|| unsendable("the input makes a segment of the path empty, or `.`, or `..`"))?;
        url.push('/');
        url.push_str(&segment(&text));
    }
    if templates.path.is_empty() {
        url.push('/');
    }
    url.push_str(&query(templates, render)?);
    let mut request = http::Request::builder().method(config.method.name()).uri(url);
    for (name, template) in &templates.headers {
        let text = text_of(&render(template)?).unwrap_or_default();
        // Line breaks would begin another field; others than ASCII are read in more than one way.
        let fits = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        let value = HeaderValue::from_str(&text).ok().filter(|_| fits);
        let value = value.ok_or_else(|| {
            unsendable(&format!(
                "the input puts characters into the header field `{name}` that it cannot hold"
            ))
        })?;
        request = request.header(name, value);
    }
    for (name, value) in &config.headers {
        if let manifest::HeaderValue::Secret(reference) = value {
            let secret = connections
                .secret(&reference.name)
                .ok_or_else(|| not_allowed(&format!("the secret `{}` is not in BATON_SECRETS", reference.name)))?;
            let text = format!("{}{}", reference.prefix, secret.text());
            let mut value = HeaderValue::from_str(&text).map_err(|_| misconfigured("a prefix of a secret"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
    }
    let body = match &templates.body {
        None => Vec::new(),
        Some(template) => {
            if !config.headers.contains_key(CONTENT_TYPE.as_str()) {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            render(template)?.to_string().into_bytes()
        }
    };
    request
        .body(body)
        .map_err(|_| unsendable("the input makes no request that can be sent"))
}

fn query(templates: &HttpTemplates, render: impl Fn(&Template) -> Result<Value, Failure>) -> Result<String, Failure> {
    let mut query = String::new();
    for (name, template) in &templates.query {
        let values = match render(template)? {
            Value::Null => continue,
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let text = text_of(&value).ok_or_else(|| {
                unsendable(&format!(
                    "the input makes the query's `{name}` something other than text or a number"
                ))
            })?;
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(&format!("{}={}", segment(name), segment(&text)));
        }
    }
    Ok(query)
}

/// A value as text, where it is one that has a text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn unfit(error: &RenderError) -> Failure {
    Failure::terminal("template-failed", error.to_string())
}

fn unsendable(reason: &str) -> Failure {
    Failure::terminal("input-not-sendable", reason)
}
