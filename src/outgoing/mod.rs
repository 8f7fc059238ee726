//! Where the gateway may send a request that somebody else named.
//!
//! A callback's URL comes from a caller. Without a guard the gateway would be a way into networks that the caller
//! cannot reach (server-side request forgery). So a URL passes three gates, and the last of them decides:
//!
//! 1. **Form.** One strict spelling ([`check_url`]): what two URL parsers might read in two ways is refused, and the
//!    URL that is fetched is composed anew of the parts that were checked.
//! 2. **Host.** No address that is not globally reachable, and no name that only private networks resolve.
//! 3. **Origin.** One of those that the operator configured for this orchestrator.
//!
//! **DNS rebinding.** A public name may resolve to a private address, also between a check and the connection. The
//! platform resolves the name itself and lets nobody pin the address, so a check of what it resolves to would prove
//! nothing. Instead: only origins that an operator configured are called, so a stranger's name never is; outside of
//! development by https alone, so whoever answers has a certificate for that very name; a redirect is never followed,
//! so an allowed origin cannot point elsewhere; and the platform's own `fetch` has no route to private networks.

mod addresses;
mod guard;
#[cfg(test)]
mod tests;

pub use guard::{CALLBACK_URL_MAX_BYTES, Refusal, Rules, Target, check_origin, check_url};
