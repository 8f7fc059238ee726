//! `baton doctor`: what is missing in a deployment, before and after it.

use std::path::Path;
use std::time::Duration;

use baton::manifest::Team;
use baton::signature::{Keyring, Purpose};
use http::{Method, Request, Response, StatusCode};

use super::manifest;
use crate::args::{CallOptions, Doctor};
use crate::doctor::configuration::{self, Secrets};
use crate::doctor::deployment::{self, Deployment};
use crate::doctor::{
    Diagnosis, Finding, Severity, bindings, channels, clock, connections, keys, links, live, models, queue, reach,
    secrets, variables,
};
use crate::input::read_text;
use crate::output::{Exit, Failure, Report, Style};
use crate::signed::Caller;
use crate::{config, environment, transport};

const TIMEOUT: Duration = Duration::from_secs(30);
/// What `cargo xtask dev` keeps beside the configuration.
const DEVELOPMENT_SECRETS: &str = ".dev.vars";

/// Looks at what is configured, at the gateway that runs, or at both.
pub fn run(args: &Doctor, style: Style) -> Result<Report, Failure> {
    let mut diagnosis = Diagnosis::default();
    let reads_configuration = args.gateway.is_none() || args.env.is_some();
    let team = if reads_configuration || args.manifests.is_dir() {
        manifests(args, &mut diagnosis)
    } else {
        None
    };
    if reads_configuration {
        configured(args, team.as_ref(), &mut diagnosis)?;
    }
    if let Some(gateway) = &args.gateway {
        running(&config::gateway(Some(gateway))?, args, team.as_ref(), &mut diagnosis)?;
    }
    let exit = if diagnosis.count(Severity::Error) == 0 {
        Exit::Done
    } else {
        Exit::Bad
    };
    Ok(Report::new(
        exit,
        if args.json {
            format!("{:#}\n", diagnosis.as_json())
        } else {
            diagnosis.describe(style)
        },
    ))
}

/// The team, where its manifests have no findings.
fn manifests(args: &Doctor, diagnosis: &mut Diagnosis) -> Option<Team> {
    let check = format!("{}/", args.manifests.display());
    match manifest::checked(&args.manifests) {
        Ok(team) => {
            diagnosis.add(check, []);
            Some(team)
        }
        Err(findings) => {
            diagnosis.add(check, findings.iter().map(Finding::of_manifest));
            None
        }
    }
}

fn configured(args: &Doctor, team: Option<&Team>, diagnosis: &mut Diagnosis) -> Result<(), Failure> {
    let file = args.config.display().to_string();
    let config = deployment::read(&read_text(&args.config)?)
        .map_err(|error| Failure::usage(format!("{file} is no TOML: {error}")))?;
    let all = deployment::environments(&config);
    let chosen = match &args.env {
        Some(name) => vec![name.as_str()],
        None => all.clone(),
    };
    if chosen.is_empty() {
        return Err(Failure::usage(format!("{file} has no environment: add [env.staging]")));
    }
    for name in chosen {
        let deployment = Deployment::of(&file, &config, name)
            .ok_or_else(|| Failure::usage(format!("{file} has no environment `{name}`, only: {}", all.join(", "))))?;
        diagnosis.add(format!("{name}: variables"), variables::check(&deployment));
        diagnosis.add(format!("{name}: bindings"), bindings::check(&deployment));
        diagnosis.add(format!("{name}: queue"), queue::check(&deployment));
        diagnosis.add(format!("{name}: migrations"), bindings::check_migrations(&deployment));
        diagnosis.add(format!("{name}: routes and triggers"), reach::check(&deployment));
        let text = args.secrets_file.as_deref().map(read_text).transpose()?;
        let secrets = text.as_deref().and_then(secrets::of_agents);
        diagnosis.add(
            format!("{name}: connections"),
            connections::check(&deployment, team, secrets),
        );
        if let Some(team) = team.filter(|team| !team.gateway.channels.is_empty()) {
            diagnosis.add(format!("{name}: channels"), channels::check(&deployment, team, secrets));
        }
        if let Some(team) = team {
            diagnosis.add(format!("{name}: models"), models::check(&deployment, team));
        }
        if let Some(secrets) = &args.secrets_file {
            let findings = check_keys(&deployment, secrets, team, args)?;
            diagnosis.add(format!("{name}: keys"), findings);
        }
        if let Some(gateway) = &args.gateway {
            let gateway = config::gateway(Some(gateway))?;
            let is_known = variables::own_origins(&deployment).contains(&gateway);
            let finding = (!is_known).then(|| {
                let problem = format!("it is not in BATON_ORIGINS of env.{name}");
                Finding::error(
                    gateway,
                    problem,
                    "ask at the environment's own address, or add this one",
                )
            });
            diagnosis.add(format!("{name}: the address"), finding);
        }
    }
    Ok(())
}

fn check_keys(
    deployment: &Deployment<'_>,
    file: &Path,
    team: Option<&Team>,
    args: &Doctor,
) -> Result<Vec<Finding>, Failure> {
    let text = read_text(file)?;
    let place = format!("{} {}", file.display(), variables::KEYS);
    let keys = secrets::value(&text, variables::KEYS);
    if let Some(finding) = secrets::check_text(&place, keys) {
        return Ok(vec![finding]);
    }
    let Ok(config) = configuration::read(deployment, Secrets { keys, agents: None }) else {
        let problem = "the keys were not compared with the orchestrators";
        return Ok(vec![Finding::note(place, problem, "correct the variables first")]);
    };
    let expected = keys::Expected {
        config: &config,
        team,
        development: &development_keys(&args.config),
        now_s: environment::now_s(),
    };
    Ok(keys::check(&place, &expected))
}

/// The keys of `cargo xtask dev` in this checkout; none where it has none.
fn development_keys(config: &Path) -> Keyring {
    let text = std::fs::read_to_string(config.with_file_name(DEVELOPMENT_SECRETS)).unwrap_or_default();
    let keys = secrets::value(&text, variables::KEYS).unwrap_or("[]");
    Keyring::parse(keys).unwrap_or_default()
}

/// Asks the gateway that runs.
fn running(gateway: &str, args: &Doctor, team: Option<&Team>, diagnosis: &mut Diagnosis) -> Result<(), Failure> {
    let asked_at_s = environment::now_s();
    let health = match get(gateway, live::HEALTH)? {
        Ok(health) => health,
        Err(failure) => {
            let remedy = "nothing else was asked: is it deployed, and does the address lead to it?";
            diagnosis.add("health", [Finding::error(gateway, failure.message(), remedy)]);
            return Ok(());
        }
    };
    let answered_at_s = environment::now_s();
    diagnosis.add("health", live::check_health(gateway, &health));
    let date = health.headers().get("date").and_then(|date| date.to_str().ok());
    diagnosis.add("clock", clock::check(gateway, date, asked_at_s, answered_at_s));

    let callers = callers(gateway, args, diagnosis)?;
    let mut discovery = get(gateway, live::DISCOVERY)?;
    if let Ok(closed) = &discovery
        && closed.status() == StatusCode::UNAUTHORIZED
        && let Some((_, _, caller)) = callers.iter().find(|(purpose, ..)| *purpose == Purpose::Invoke)
    {
        discovery = caller
            .ask(Method::GET, live::DISCOVERY, TIMEOUT)
            .map(|answer| answer.response);
    }
    diagnosis.add(
        "discovery manifest",
        match &discovery {
            Ok(discovery) => live::check_discovery(gateway, discovery, team),
            Err(failure) => {
                let remedy = "ask again; the log may say more: `wrangler tail`";
                vec![Finding::error(
                    format!("{gateway}{}", live::DISCOVERY),
                    failure.message(),
                    remedy,
                )]
            }
        },
    );
    for (purpose, key, caller) in &callers {
        let (target, good) = match purpose {
            Purpose::Operate => (live::OPERATOR_PROBE, StatusCode::OK),
            _ => (live::ORCHESTRATOR_PROBE, StatusCode::NOT_FOUND),
        };
        let answered = caller.ask(Method::GET, target, TIMEOUT);
        let finding = live::check_signed(gateway, target, key, answered.as_ref(), good);
        diagnosis.add(format!("key {key}"), finding);
        // A key that is refused would be refused once more.
        let is_known = answered.is_ok_and(|answer| answer.response.status() != StatusCode::UNAUTHORIZED);
        if *purpose == Purpose::Operate && is_known {
            let answered = caller.ask(Method::GET, links::LINKS, TIMEOUT);
            diagnosis.add("links", links::check(gateway, key, answered.as_ref()));
        }
    }
    Ok(())
}

/// One who calls for each purpose that the file of keys has a key of, with the purpose and the key's id.
fn callers(gateway: &str, args: &Doctor, diagnosis: &mut Diagnosis) -> Result<Vec<(Purpose, String, Caller)>, Failure> {
    let Some(file) = &args.key else {
        let problem = "no signed call was made: neither keys nor the links to orchestrators were looked at";
        let remedy = "give --key with a record of the purpose `operate`, `invoke` or both";
        diagnosis.add("no keys", [Finding::note(gateway, problem, remedy)]);
        return Ok(Vec::new());
    };
    let keyring = config::keyring(Some(file))?;
    let options = CallOptions {
        gateway: Some(gateway.to_owned()),
        key: Some(file.clone()),
        json: false,
        show_request: false,
        capture: None,
    };
    let mut callers = Vec::new();
    for purpose in [Purpose::Operate, Purpose::Invoke] {
        if keyring.iter().any(|key| key.allows(purpose)) {
            let key = config::signing_key(&keyring, purpose, None, environment::now_s())?;
            callers.push((purpose, key.id.clone(), Caller::new(&options, purpose, None)?));
        }
    }
    if callers.is_empty() {
        return Err(Failure::usage(format!(
            "--key: {} has no record of the purpose `operate` or `invoke`, so it opens nothing",
            file.display()
        )));
    }
    if !callers.iter().any(|(purpose, ..)| *purpose == Purpose::Operate) {
        let problem = "how the links stand was not looked at";
        let remedy = "give --key with a record of the purpose `operate` as well";
        diagnosis.add("no operator's key", [Finding::note(gateway, problem, remedy)]);
    }
    Ok(callers)
}

/// Asks without a signature. The outer failure is a wrong argument.
fn get(gateway: &str, target: &str) -> Result<Result<Response<Vec<u8>>, Failure>, Failure> {
    let request = Request::get(format!("{gateway}{target}"))
        .header("accept", "application/json, application/problem+json")
        .body(Vec::new())
        .map_err(|error| Failure::usage(format!("{gateway}: {error}")))?;
    Ok(transport::send(request, TIMEOUT))
}
