//! Live configuration: an operator's overrides of agents. Each change makes a new version of all of them, on top of the one
//! that the operator has seen.

use http::HeaderMap;
use http::header::{ETAG, IF_MATCH};
use serde_json::{Value, json};

use super::reply::Reply;
use super::{Acted, Gateway};
use crate::invocation::{Caller, read_json, read_message};
use crate::overrides::adjust::{check, describe};
use crate::overrides::snapshot::canonical;
use crate::overrides::{Change, OVERRIDES_MAX_BYTES, Overrides, Proposal, Proposed, Snapshot, Version, overridden};
use crate::platform::Platform;
use crate::problem::Problem;
use crate::schema::{VIOLATIONS_MAX, Violation};

impl Gateway<'_> {
    pub(super) async fn overrides<P: Platform>(&self, caller: &Caller<'_, P>) -> Result<Acted, Problem> {
        let current = current(caller.platform).await?;
        self.told(&current)
    }

    /// Changes an agent. Whether the override holds is checked before anybody is asked to keep it.
    pub(super) async fn put_override<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        agent: &str,
        request: &http::Request<Vec<u8>>,
    ) -> Result<Acted, Problem> {
        is_on(caller.platform)?;
        self.declared.agent(agent).ok_or(Problem::UnknownAgent)?;
        let value = read_json(request.body(), self.team.gateway.limits.json_depth_max)?;
        check(self.declared, &self.config.connections, agent, &value)
            .map_err(|violations| Problem::SchemaViolated { violations })?;
        let change = Change::Set {
            agent: agent.to_owned(),
        };
        self.change(caller, request.headers(), change, Some(value)).await
    }

    /// Lets an agent be as it was deployed; also one that is.
    pub(super) async fn delete_override<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        agent: &str,
        headers: &HeaderMap,
    ) -> Result<Acted, Problem> {
        is_on(caller.platform)?;
        let change = Change::Unset {
            agent: agent.to_owned(),
        };
        self.change(caller, headers, change, None).await
    }

    /// Puts the overrides of another version in force, if they hold with the manifests that there are now.
    pub(super) async fn roll_back_overrides<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        request: &http::Request<Vec<u8>>,
    ) -> Result<Acted, Problem> {
        is_on(caller.platform)?;
        let depth_max = self.team.gateway.limits.json_depth_max;
        let message = read_message("override-rollback", request.body(), depth_max)?;
        let to = message["version"].as_u64().ok_or(Problem::Internal)?;
        self.change(caller, request.headers(), Change::RollBack { to }, None)
            .await
    }

    pub(super) async fn override_versions<P: Platform>(&self, caller: &Caller<'_, P>) -> Result<Acted, Problem> {
        is_on(caller.platform)?;
        let versions: Vec<Version> = caller.platform.override_versions().await?;
        Ok(Acted::Reply(Reply::json(&json!({ "versions": versions }))))
    }

    pub(super) async fn override_version<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        number: &str,
    ) -> Result<Acted, Problem> {
        is_on(caller.platform)?;
        let number = number.parse().map_err(|_| Problem::OverridesVersionUnknown)?;
        self.told(&kept(caller.platform, number).await?)
    }

    /// Makes a version, on top of the one that the caller names. The same call again, because its answer was lost, is
    /// answered with the version that it made. `wanted` is the override that is set.
    async fn change<P: Platform>(
        &self,
        caller: &Caller<'_, P>,
        headers: &HeaderMap,
        change: Change,
        wanted: Option<Value>,
    ) -> Result<Acted, Problem> {
        let based_on = based_on(headers)?;
        let (by, _) = caller.once()?;
        let current = current(caller.platform).await?;
        if current.version != based_on {
            return if current.came_of(based_on, by, &change, wanted.as_ref()) {
                self.told(&current)
            } else {
                Err(Problem::OverridesConflict {
                    current: current.version,
                })
            };
        }
        let overrides = match (&change, wanted) {
            (Change::RollBack { to }, _) => {
                let earlier = kept(caller.platform, *to).await?;
                self.check_all(&earlier)?;
                earlier.overrides
            }
            (Change::Set { agent }, Some(value)) => with(&current.overrides, agent, Some(value)),
            (Change::Set { agent } | Change::Unset { agent }, _) => with(&current.overrides, agent, None),
        };
        check_size(&overrides)?;
        if overrides == current.overrides {
            return self.told(&current);
        }
        let proposal = Proposal {
            based_on,
            by: by.to_owned(),
            change,
            overrides,
        };
        match caller.platform.propose_overrides(&proposal).await? {
            Proposed::Made(made) => self.told(&made),
            Proposed::Overtaken(current) => Err(Problem::OverridesConflict { current }),
        }
    }

    /// That all overrides of an earlier version hold today.
    fn check_all(&self, earlier: &Snapshot) -> Result<(), Problem> {
        let wrong = earlier.overrides.iter().filter_map(|(agent, value)| {
            let errors = check(self.declared, &self.config.connections, agent, value).err()?;
            Some((agent, errors))
        });
        let violations = wrong.flat_map(|(agent, errors)| {
            let place = format!("/overrides/{agent}");
            errors.into_iter().map(move |error| Violation {
                instance: format!("{place}{}", error.instance),
                ..error
            })
        });
        let violations: Vec<_> = violations.take(VIOLATIONS_MAX).collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(Problem::SchemaViolated { violations })
        }
    }

    /// The message `overrides`.
    fn told(&self, snapshot: &Snapshot) -> Result<Acted, Problem> {
        let (_, ignored) = overridden(self.declared, snapshot);
        let mut body = json!({
            "version": snapshot.version,
            "overrides": snapshot.overrides,
            "ignored": describe(&ignored),
        });
        if let Some(change) = &snapshot.change {
            body["at_ms"] = snapshot.at_ms.into();
            body["by"] = snapshot.by.as_str().into();
            body["change"] = serde_json::to_value(change).map_err(|_| Problem::Internal)?;
        }
        Ok(Acted::Reply(Reply::json(&body).with(ETAG, &snapshot.etag())))
    }
}

fn is_on(platform: &impl Platform) -> Result<(), Problem> {
    platform.keeps_overrides().then_some(()).ok_or(Problem::OverridesOff)
}

async fn current(platform: &impl Platform) -> Result<Snapshot, Problem> {
    is_on(platform)?;
    Ok(platform.overrides(None).await?.unwrap_or_else(Snapshot::none))
}

async fn kept(platform: &impl Platform, number: u64) -> Result<Snapshot, Problem> {
    let version = platform.overrides(Some(number)).await?;
    version.ok_or(Problem::OverridesVersionUnknown)
}

fn with(overrides: &Overrides, agent: &str, wanted: Option<Value>) -> Overrides {
    let mut overrides = overrides.clone();
    match wanted {
        Some(value) => overrides.insert(agent.to_owned(), value),
        None => overrides.remove(agent),
    };
    overrides
}

fn check_size(overrides: &Overrides) -> Result<(), Problem> {
    let bytes = canonical(overrides).len();
    if bytes <= OVERRIDES_MAX_BYTES {
        return Ok(());
    }
    let violation = Violation {
        instance: String::new(),
        schema: String::new(),
        message: format!("With it the overrides of all agents have {bytes} bytes; the limit is {OVERRIDES_MAX_BYTES}."),
    };
    Err(Problem::SchemaViolated {
        violations: vec![violation],
    })
}

/// The version that the caller has seen. It must name it: the number is what makes a captured call worth nothing.
fn based_on(headers: &HeaderMap) -> Result<u64, Problem> {
    let mut fields = headers.get_all(IF_MATCH).iter();
    let tag = fields.next().and_then(|field| field.to_str().ok());
    let number = tag.and_then(|tag| tag.trim().strip_prefix('"')?.strip_suffix('"'));
    let is_plain = |number: &&str| number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.filter(is_plain).and_then(|number| number.parse().ok());
    match (number, fields.next()) {
        (Some(number), None) => Ok(number),
        _ => Err(Problem::OverridesVersionRequired),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_change_names_one_version() {
        let check = |fields: &[&'static str], expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(IF_MATCH, HeaderValue::from_static(field));
            }
            let expected = expected.ok_or(Problem::OverridesVersionRequired);
            assert_eq!(based_on(&headers), expected, "{fields:?}");
        };
        check(&["\"7\""], Some(7));
        check(&["\"0\""], Some(0));
        check(&[], None);
        check(&["*"], None);
        check(&["7"], None);
        check(&["W/\"7\""], None);
        check(&["\"7\", \"8\""], None);
        check(&["\"7\"", "\"7\""], None);
        check(&["\"+7\""], None);
        check(&["\"\""], None);
        check(&["\"99999999999999999999\""], None);
    }

    #[test]
    fn all_overrides_together_are_bounded() {
        let of = |bytes: usize| Overrides::from([("a".to_owned(), "x".repeat(bytes).into())]);
        let around = canonical(&of(0)).len();
        assert_eq!(check_size(&of(OVERRIDES_MAX_BYTES - around)), Ok(()));
        assert!(matches!(
            check_size(&of(OVERRIDES_MAX_BYTES - around + 1)),
            Err(Problem::SchemaViolated { .. })
        ));
    }
}
