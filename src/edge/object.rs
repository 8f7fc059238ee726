//! How a Worker asks the Durable Objects: one kind of message for all of them, JSON both ways.

use serde::Serialize;
use serde::de::DeserializeOwned;
use worker::{Env, Method, Request, RequestInit};

use super::log;
use crate::config;
use crate::platform::StorageUnavailable;

/// A kind of Durable Object.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    binding: &'static str,
    /// What the log calls it.
    name: &'static str,
}

/// The runs' objects.
pub const RUN: Kind = Kind {
    binding: config::RUNS,
    name: "run",
};
/// The orchestrators' links.
pub const LINK: Kind = Kind {
    binding: config::LINKS,
    name: "link",
};
/// What keeps API keys, client addresses and slots. A question that is repeated may cost a token more.
pub const CLIENT: Kind = Kind {
    binding: config::CLIENTS,
    name: "client",
};

/// The conversations' objects.
pub const CONVERSATION: Kind = Kind {
    binding: config::CONVERSATIONS,
    name: "conversation",
};

/// What gives the versions of the overrides their numbers.
pub const OVERRIDES: Kind = Kind {
    binding: config::OVERRIDES_WRITER,
    name: "overrides",
};

impl Kind {
    /// Asks the object of this name. A stub can be dead after a reset, so a second one is tried: what is asked must be safe
    /// to repeat. `question` is the path of the request, and a query where it has one.
    pub async fn ask<T: DeserializeOwned>(
        self,
        env: &Env,
        object: &str,
        question: &str,
        message: &impl Serialize,
    ) -> Result<T, StorageUnavailable> {
        let body = serde_json::to_string(message).map_err(|_| StorageUnavailable)?;
        for _ in 0..2 {
            match self.post(env, object, question, &body).await {
                Ok(answer) => return serde_json::from_str(&answer).map_err(|_| StorageUnavailable),
                Err(error) => log::alarm(self.name, &format!("{question}: {error}")),
            }
        }
        Err(StorageUnavailable)
    }

    /// The same without a second try.
    pub async fn ask_once<T: DeserializeOwned>(
        self,
        env: &Env,
        object: &str,
        question: &str,
        message: &impl Serialize,
    ) -> worker::Result<T> {
        let answer = self
            .post(env, object, question, &serde_json::to_string(message)?)
            .await?;
        Ok(serde_json::from_str(&answer)?)
    }

    async fn post(self, env: &Env, object: &str, question: &str, body: &str) -> worker::Result<String> {
        let stub = env.durable_object(self.binding)?.get_by_name(object)?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(body.into()));
        let request = Request::new_with_init(&format!("http://object/{question}"), &init)?;
        let mut response = stub.fetch_with_request(request).await?;
        match response.status_code() {
            200 => response.text().await,
            status => Err(format!("the {}'s object answered {status}", self.name).into()),
        }
    }
}
