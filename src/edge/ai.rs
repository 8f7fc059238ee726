//! A model of Workers AI, run by the binding. `worker::Ai` answers values alone: here it is asked for the whole response, as the
//! runtime's own class has it, so that its status and its stream are those of any other provider.

use worker::js_sys::{Array, Function, JSON, Object, Promise, Reflect};
use worker::wasm_bindgen::{JsCast as _, JsValue};
use worker::wasm_bindgen_futures::JsFuture;
use worker::{Env, web_sys};

use super::http_client;
use crate::agent::Incoming;
use crate::platform::Unanswered;

/// Whether a binding of this name can run models.
pub fn is_bound(env: &Env, binding: &str) -> bool {
    Reflect::get(env, &binding.into()).is_ok_and(|ai| ai.is_object() || ai.is_function())
}

/// Runs a model: `body` is JSON, `{"model": …, "inputs": …}`. It is not aborted when nobody waits any more: the binding
/// takes no signal from every runtime.
///
/// # Errors
/// When there is no such binding, or the call fails.
pub async fn run(env: &Env, binding: &str, body: &[u8]) -> Result<Incoming, Unanswered> {
    let response = respond(env, binding, body).await.map_err(|error| {
        let message = Reflect::get(&error, &"message".into())
            .ok()
            .and_then(|message| message.as_string());
        Unanswered::Failed(message.unwrap_or_else(|| "the binding refused the call".to_owned()))
    })?;
    http_client::incoming(response.into(), None)
}

async fn respond(env: &Env, binding: &str, body: &[u8]) -> Result<web_sys::Response, JsValue> {
    let body = JSON::parse(&String::from_utf8_lossy(body))?;
    let get = |of: &JsValue, member: &str| Reflect::get(of, &member.into());
    let (model, inputs) = (get(&body, "model")?, get(&body, "inputs")?);
    let options = Object::new();
    Reflect::set(&options, &"returnRawResponse".into(), &true.into())?;
    let ai = get(env, binding)?;
    let run: Function = get(&ai, "run")?.unchecked_into();
    // Not `run.call(…)`: of a Worker that stands for the binding, that would be a method of another name.
    let answer = Reflect::apply(&run, &ai, &Array::of3(&model, &inputs, &options))?;
    JsFuture::from(Promise::resolve(&answer)).await?.dyn_into()
}
