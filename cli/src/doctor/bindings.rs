//! Whether an environment binds what the Worker needs, and creates the classes of its Durable Objects.

use baton::config::{DURABLE_OBJECTS, HISTORY};
use serde_json::Value;

use super::Finding;
use super::deployment::{Binding, Deployment};

const OBJECTS: &str = "durable_objects.bindings";
const DATABASES: &str = "d1_databases";

/// Everything that is bound, or should be.
pub fn check(deployment: &Deployment<'_>) -> Vec<Finding> {
    let bindings = deployment.bindings();
    let find = |kind: &str, name: &str| bindings.iter().find(|own| own.kind == kind && own.name == name);
    let mut findings = Vec::new();
    for (name, class) in DURABLE_OBJECTS {
        match find(OBJECTS, name) {
            None => findings.push(missing(deployment, OBJECTS, name, &format!("class_name = \"{class}\""))),
            Some(own) if text(own, "class_name") != class => findings.push(Finding::error(
                deployment.at(&format!("{OBJECTS} {name}")),
                format!("its class is `{}`", text(own, "class_name")),
                format!("write class_name = \"{class}\""),
            )),
            Some(_) => {}
        }
    }
    if find(DATABASES, HISTORY).is_none() {
        let more = "database_name and database_id, as `wrangler d1 create` prints them";
        findings.push(missing(deployment, DATABASES, HISTORY, more));
    }
    for above in deployment.bindings_above() {
        let needed = above.name == HISTORY || DURABLE_OBJECTS.iter().any(|(name, _)| *name == above.name);
        if !needed && find(&above.kind, above.name).is_none() {
            findings.push(missing(
                deployment,
                &above.kind,
                above.name,
                "what stands above, with this environment's values",
            ));
        }
    }
    findings.extend(bindings.iter().filter_map(|own| without_an_id(deployment, own)));
    findings.extend(bindings.iter().filter_map(|own| shared(deployment, own)));
    findings
}

fn missing(deployment: &Deployment<'_>, kind: &str, name: &str, more: &str) -> Finding {
    Finding::error(
        deployment.at(kind),
        format!("the binding {name} is missing: bindings are not inherited from above"),
        format!("add it in this environment: {name}, with {more}"),
    )
}

fn text<'a>(binding: &Binding<'a>, key: &str) -> &'a str {
    binding.table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The key and value of the id that the platform gave to what is bound.
fn id<'a>(binding: &Binding<'a>) -> Option<(&'static str, &'a str)> {
    ["database_id", "id"]
        .into_iter()
        .find_map(|key| Some((key, binding.table.get(key)?.as_str()?)))
}

fn is_placeholder(id: &str) -> bool {
    id.chars().all(|c| matches!(c, '0' | '-'))
}

fn without_an_id(deployment: &Deployment<'_>, binding: &Binding<'_>) -> Option<Finding> {
    let place = |key: &str| deployment.at(&format!("{} {} {key}", binding.kind, binding.name));
    let create = match binding.kind.as_str() {
        DATABASES => format!(
            "wrangler d1 create {}",
            binding
                .table
                .get("database_name")
                .and_then(Value::as_str)
                .unwrap_or("NAME")
        ),
        "kv_namespaces" => format!("wrangler kv namespace create {}", binding.name),
        _ => "wrangler".to_owned(),
    };
    match id(binding) {
        Some((key, id)) if is_placeholder(id) => Some(Finding::error(
            place(key),
            format!("`{id}` is a placeholder and names nothing"),
            format!("`{create}` makes it and prints its id"),
        )),
        None if binding.kind == DATABASES => Some(Finding::warning(
            place("database_id"),
            "it is not set: wrangler would make another database, without its tables",
            format!("`{create}` makes the database and prints its id"),
        )),
        _ => None,
    }
}

/// Two environments on one database see each other's customers.
fn shared(deployment: &Deployment<'_>, binding: &Binding<'_>) -> Option<Finding> {
    let (key, own) = id(binding).filter(|(_, id)| !is_placeholder(id))?;
    let other = deployment.siblings().find(|other| {
        let has = |theirs: &Binding<'_>| theirs.kind == binding.kind && id(theirs) == Some((key, own));
        other.bindings().iter().any(has)
    })?;
    Some(Finding::warning(
        deployment.at(&format!("{} {} {key}", binding.kind, binding.name)),
        format!(
            "env.{} has the same: one environment sees what the other one writes",
            other.name
        ),
        "give each environment its own",
    ))
}

/// The classes of Durable Objects: each has to be created, and the tags have to be those that other environments have.
pub fn check_migrations(deployment: &Deployment<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = deployment.at("migrations");
    let own = deployment.own("migrations");
    if own.is_some() && own != deployment.above("migrations") {
        findings.push(Finding::error(
            &place,
            "they differ from those above, which the other environments inherit",
            "remove them here: environments inherit `migrations`, and all of them have the same classes",
        ));
    }
    let migrations = deployment.inherited("migrations").and_then(Value::as_array);
    let steps: Vec<&Value> = migrations.into_iter().flatten().collect();
    for (index, step) in steps.iter().enumerate() {
        if steps[..index].iter().any(|earlier| earlier["tag"] == step["tag"]) {
            findings.push(Finding::error(
                &place,
                format!("two have the tag {}", step["tag"]),
                "give each its own: a tag that was deployed is not executed again",
            ));
        }
    }
    for (_, class) in DURABLE_OBJECTS {
        let creates = |step: &&Value| {
            let classes = step["new_sqlite_classes"].as_array();
            classes.is_some_and(|classes| classes.iter().any(|new| new == class))
        };
        if !steps.iter().any(creates) {
            findings.push(Finding::error(
                &place,
                format!("none creates the class {class} with SQLite"),
                format!("add one with a new tag and new_sqlite_classes = [\"{class}\"]"),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, assert_found, deployment};
    use super::*;

    const GOOD: &str = r#"
[[migrations]]
tag = "v1"
new_sqlite_classes = ["RunObject", "LinkObject"]
[[migrations]]
tag = "v2"
new_sqlite_classes = ["ClientObject"]
[[migrations]]
tag = "v3"
new_sqlite_classes = ["OverridesObject"]

[[migrations]]
tag = "v4"
new_sqlite_classes = ["ConversationObject"]
[[d1_databases]]
binding = "HISTORY"
[ai]
binding = "AI"
[env.staging.ai]
binding = "AI"
[[env.staging.durable_objects.bindings]]
name = "RUNS"
class_name = "RunObject"
[[env.staging.durable_objects.bindings]]
name = "LINKS"
class_name = "LinkObject"
[[env.staging.durable_objects.bindings]]
name = "CLIENTS"
class_name = "ClientObject"
[[env.staging.durable_objects.bindings]]
name = "OVERRIDES_WRITER"
class_name = "OverridesObject"

[[env.staging.durable_objects.bindings]]
name = "CONVERSATIONS"
class_name = "ConversationObject"
[[env.staging.d1_databases]]
binding = "HISTORY"
database_name = "history-staging"
database_id = "0f"
[[env.staging.kv_namespaces]]
binding = "OVERRIDES"
id = "0f"
[env.production]
"#;

    type Check = fn(&Deployment<'_>) -> Vec<Finding>;

    #[track_caller]
    fn found(check: Check, change: (&str, &str), expected: &[(Severity, &str)]) {
        assert!(GOOD.contains(change.0), "{}", change.0);
        let config = deployment::read(&GOOD.replacen(change.0, change.1, 1)).expect("TOML");
        let staging = Deployment::of("wrangler.toml", &config, "staging").expect("there");
        assert_found(&check(&staging), expected);
    }

    #[test]
    fn bindings() {
        use Severity::{Error, Warning};
        found(check, ("", ""), &[]);
        found(
            check,
            ("name = \"RUNS\"", "name = \"RUN\""),
            &[(Error, "the binding RUNS is missing")],
        );
        found(
            check,
            ("class_name = \"LinkObject\"", "class_name = \"Link\""),
            &[(Error, "LINKS: its class is `Link`: write class_name = \"LinkObject\"")],
        );
        found(
            check,
            (
                "[[env.staging.d1_databases]]\nbinding = \"HISTORY\"",
                "[[env.staging.d1_databases]]\nbinding = \"H\"",
            ),
            &[(Error, "the binding HISTORY is missing")],
        );
        found(
            check,
            ("[env.staging.ai]\nbinding = \"AI\"", ""),
            &[(Error, "env.staging.ai: the binding AI is missing")],
        );
        found(
            check,
            ("database_id = \"0f\"", "database_id = \"00000000-0000\""),
            &[(Error, "`wrangler d1 create history-staging`")],
        );
        found(
            check,
            ("\nid = \"0f\"", "\nid = \"0000\""),
            &[(Error, "`wrangler kv namespace create OVERRIDES`")],
        );
        found(check, ("database_id = \"0f\"", ""), &[(Warning, "it is not set")]);
        found(
            check,
            (
                "[env.production]",
                "[[env.production.d1_databases]]\nbinding = \"HISTORY\"\ndatabase_id = \"0f\"",
            ),
            &[(Warning, "env.production has the same")],
        );
    }

    #[test]
    fn migrations() {
        use Severity::Error;
        found(check_migrations, ("", ""), &[]);
        found(
            check_migrations,
            ("tag = \"v2\"", "tag = \"v1\""),
            &[(Error, "two have the tag \"v1\"")],
        );
        found(
            check_migrations,
            (
                "new_sqlite_classes = [\"ClientObject\"]",
                "new_classes = [\"ClientObject\"]",
            ),
            &[(Error, "none creates the class ClientObject with SQLite")],
        );
        let own = "[[env.staging.migrations]]\ntag = \"v1\"\nnew_sqlite_classes = [\"RunObject\", \"LinkObject\", \"ClientObject\", \"OverridesObject\", \"ConversationObject\"]\n[env.production]";
        found(
            check_migrations,
            ("[env.production]", own),
            &[(Error, "they differ from those above")],
        );
    }
}
