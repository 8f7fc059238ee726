//! Operators in a browser: signed in once by signature, known by a cookie afterwards.

use http::header::{AUTHORIZATION, SET_COOKIE};
use http::{HeaderMap, Method};
use serde_json::json;

use super::reply::Reply;
use super::{Acted, Admitted, Gateway};
use crate::access::{Session, SessionCookie, is_same_origin};
use crate::invocation::{Caller, Identity};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::routes::{Action, Route};
use crate::run::{Admit, RunName};
use crate::signature::{Rejection, RequestView, Verified, check_envelope};

/// Where the nonces of sign-ins are remembered: an object that no run has, for no run's id is a dot.
const SIGN_INS: &str = ".";

/// By what a caller is known.
pub(super) enum Known {
    /// By nothing: the route is open, or asks for an API key.
    Nobody,
    /// By its signature.
    Signed(Box<Verified>),
    /// By the cookie of a browser.
    Operator(Session),
}

impl Known {
    /// The key that proves it.
    pub(super) fn key_id(&self) -> Option<&str> {
        match self {
            Self::Nobody => None,
            Self::Signed(verified) => Some(verified.key_id()),
            Self::Operator(session) => Some(&session.key_id),
        }
    }

    pub(super) fn identity(&self) -> Option<Identity<'_>> {
        match self {
            Self::Nobody => None,
            Self::Signed(verified) => Some(Identity::Signed(verified)),
            Self::Operator(session) => Some(Identity::Operator(session)),
        }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match self {
            Self::Operator(session) => Some(session),
            Self::Nobody | Self::Signed(_) => None,
        }
    }
}

impl Gateway<'_> {
    /// Who calls, by its session or by its signature.
    pub(super) fn identify(
        &self,
        admitted: &Admitted,
        request: &http::Request<Vec<u8>>,
        now_s: u64,
    ) -> Result<Known, Problem> {
        if let Some(session) = self.session(admitted, request, now_s)? {
            return Ok(Known::Operator(session));
        }
        let verified = self.verify(admitted, request, now_s)?;
        Ok(verified.map_or(Known::Nobody, |verified| Known::Signed(Box::new(verified))))
    }

    /// Whether the route is one of those that an operator may close, and has closed.
    pub(super) fn is_closed(&self, route: &Route) -> bool {
        !self.team.gateway.discovery.public && matches!(route.action, Action::Discovery | Action::OpenApi)
    }

    /// The session by which a request wants to be known; nothing where it has none, or is to be known by something better.
    ///
    /// # Errors
    /// 401 `session-invalid`; 403 `origin-not-allowed` where the call could have an effect, and another page may have made
    /// it; what is wrong with the request around it.
    fn session(
        &self,
        admitted: &Admitted,
        request: &http::Request<Vec<u8>>,
        now_s: u64,
    ) -> Result<Option<Session>, Problem> {
        let route = admitted.route;
        let takes_session = route.takes_session() || self.is_closed(route);
        if !takes_session || has_other_proof(request.headers()) {
            return Ok(None);
        }
        let view = RequestView::of(request).map_err(|_| Rejection::Authority)?;
        let origins = &self.config.origins;
        let Some(origin) = origins.of(view.authority) else {
            return Ok(None);
        };
        let Some(token) = SessionCookie::at(origin).read(view.headers) else {
            return Ok(None);
        };
        check_envelope(&view, origins)?;
        let safe = matches!(*request.method(), Method::GET | Method::HEAD);
        if !safe && !is_same_origin(view.headers, origin) {
            return Err(Problem::OriginNotAllowed);
        }
        let session = Session::of_token(token, &self.config.keyring, now_s);
        session.map(Some).ok_or(Problem::SessionInvalid)
    }

    /// Begins a session, once for each signature.
    pub(super) async fn sign_in<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        request: &http::Request<Vec<u8>>,
    ) -> Result<Acted, Problem> {
        caller
            .ask(&RunName::new(caller.orchestrator(), SIGN_INS), Admit)
            .await?;
        let now_s = caller.platform.now_ms() / 1_000;
        let key = self.config.keyring.get(caller.verified()?.key_id());
        let key = key.ok_or(Problem::Internal)?;
        let session = Session::begin(key, &caller.occasion.request_id, now_s);
        Ok(Acted::Reply(self.carrying(
            described(&session),
            &session,
            request,
            now_s,
        )))
    }

    /// Ends the session in this browser.
    pub(super) fn sign_out(&self, request: &http::Request<Vec<u8>>) -> Result<Acted, Problem> {
        let cookie = self.cookie(request).ok_or(Rejection::Authority)?;
        Ok(Acted::Reply(Reply::no_content().with(SET_COOKIE, &cookie.set("", 0))))
    }

    /// Whether this browser is signed in. Anyone may ask, so that a page can tell without being refused.
    pub(super) fn describe_session(&self, request: &http::Request<Vec<u8>>, now_s: u64) -> Reply {
        let token = self.cookie(request).and_then(|cookie| cookie.read(request.headers()));
        let session = token.and_then(|token| Session::of_token(token, &self.config.keyring, now_s));
        session.map_or_else(
            || Reply::json(&json!({ "signed_in": false })),
            |session| described(&session),
        )
    }

    /// Adds a new token to an answer where the session is used and nears its end.
    pub(super) fn renew(&self, reply: Reply, session: &Session, request: &http::Request<Vec<u8>>, now_s: u64) -> Reply {
        match session.renewed(now_s) {
            Some(session) => self.carrying(reply, &session, request, now_s),
            None => reply,
        }
    }

    fn carrying(&self, reply: Reply, session: &Session, request: &http::Request<Vec<u8>>, now_s: u64) -> Reply {
        match (self.cookie(request), self.config.keyring.get(&session.key_id)) {
            (Some(cookie), Some(key)) => {
                let max_age_s = session.expires_at_s.saturating_sub(now_s);
                reply.with(SET_COOKIE, &cookie.set(&session.token(key), max_age_s))
            }
            _ => reply,
        }
    }

    /// The session's cookie at the origin that the request is addressed to; nothing where that is none of ours.
    fn cookie(&self, request: &http::Request<Vec<u8>>) -> Option<SessionCookie> {
        let view = RequestView::of(request).ok()?;
        self.config.origins.of(view.authority).map(SessionCookie::at)
    }
}

/// A signature and an API key are given on purpose; a cookie comes by itself, and stands behind them.
fn has_other_proof(headers: &HeaderMap) -> bool {
    ["signature", "signature-input", AUTHORIZATION.as_str()]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// The message `session`.
fn described(session: &Session) -> Reply {
    Reply::json(&json!({
        "signed_in": true,
        "key_id": session.key_id,
        "orchestrator": session.orchestrator,
        "expires_at_ms": session.expires_at_s * 1_000,
        "ends_at_ms": session.ends_at_s() * 1_000,
    }))
}
