//! What the templates and conditions of a workflow can see where they stand, checked when building.
//!
//! A node sees those that have certainly ended before it: its predecessors in its own list and in the lists around it, and
//! what is within a `sequence` or a `parallel` that joins all. What is within a branch, a loop or a map stays there; the
//! node that holds it has an output.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Condition, Join, NAMES, Node, NodeKind, WorkflowConfig};
use crate::manifest::Template;

/// Checks every template and condition. `found` takes a JSON Pointer into the manifest, and a reason.
pub(super) fn check(workflow: &WorkflowConfig, found: &mut impl FnMut(String, String)) {
    let mut places = BTreeMap::new();
    note_ids(&workflow.steps, "/workflow/steps", &mut places);
    let mut checker = Checker { places, found };
    let mut seen = Seen::default();
    checker.list(&workflow.steps, "/workflow/steps", &mut seen);
    checker.template(&workflow.output, "/workflow/output", &seen);
}

fn note_ids<'w>(nodes: &'w [Node], at: &str, places: &mut BTreeMap<&'w str, String>) {
    for (index, node) in nodes.iter().enumerate() {
        let at = format!("{at}/{index}");
        for (inner, nodes) in node.inner() {
            note_ids(nodes, &format!("{at}{inner}"), places);
        }
        places.insert(&node.id, at);
    }
}

/// What can be seen at one place.
#[derive(Clone, Default)]
struct Seen {
    steps: BTreeSet<String>,
    /// `item`, `index`, `previous`.
    names: BTreeSet<&'static str>,
}

impl Seen {
    fn with(&self, names: &[&'static str]) -> Self {
        let mut inner = self.clone();
        inner.names.extend(names);
        inner
    }
}

struct Checker<'w, F> {
    /// Where each node stands.
    places: BTreeMap<&'w str, String>,
    found: &'w mut F,
}

impl<F: FnMut(String, String)> Checker<'_, F> {
    /// Nodes one after the other: each sees those before it, and `seen` has all of them in the end.
    fn list(&mut self, nodes: &[Node], at: &str, seen: &mut Seen) {
        for (index, node) in nodes.iter().enumerate() {
            self.node(node, &format!("{at}/{index}"), seen);
        }
    }

    fn node(&mut self, node: &Node, at: &str, seen: &mut Seen) {
        match &node.kind {
            NodeKind::Call(call) => self.template(&call.input, &format!("{at}/input"), seen),
            NodeKind::Sequence { sequence } => self.list(sequence, &format!("{at}/sequence"), seen),
            NodeKind::Parallel { parallel, join } => {
                let before = seen.clone();
                for (index, branch) in parallel.iter().enumerate() {
                    let mut inner = before.clone();
                    self.node(branch, &format!("{at}/parallel/{index}"), &mut inner);
                    if join.needed(parallel.len()) >= parallel.len() {
                        seen.steps.extend(inner.steps);
                    }
                }
                if let Join::Quorum(count) = join
                    && *count > parallel.len()
                {
                    let reason = format!("there are {} branches: no more than that can complete", parallel.len());
                    (self.found)(format!("{at}/join/quorum"), reason);
                }
            }
            NodeKind::Branch { branch, otherwise } => {
                let conditions: Vec<_> = branch.iter().map(|way| &way.when).collect();
                self.ways(&conditions, at, seen);
                for (index, way) in branch.iter().enumerate() {
                    self.list(&way.then, &format!("{at}/branch/{index}/then"), &mut seen.clone());
                }
                if let Some(nodes) = otherwise {
                    self.list(nodes, &format!("{at}/else"), &mut seen.clone());
                }
            }
            NodeKind::Loop(node) => {
                let mut inner = seen.with(&["index", "previous"]);
                self.list(&node.body, &format!("{at}/loop"), &mut inner);
                self.condition(&node.until, &format!("{at}/until"), &inner);
            }
            NodeKind::Map(node) => {
                self.template(&node.over, &format!("{at}/over"), seen);
                let mut inner = seen.with(&["item", "index"]);
                self.list(&node.body, &format!("{at}/map"), &mut inner);
            }
        }
        seen.steps.insert(node.id.clone());
    }

    /// The conditions of a branch. A way that is never gone is a mistake.
    fn ways(&mut self, conditions: &[&Condition], at: &str, seen: &Seen) {
        let mut always: Option<usize> = None;
        for (index, condition) in conditions.iter().enumerate() {
            let at = format!("{at}/branch/{index}/when");
            if let Some(first) = always {
                let reason = format!("is never looked at: the condition of way {first} always holds");
                (self.found)(at, reason);
                continue;
            }
            if let Some(first) = conditions[..index].iter().position(|other| other == condition) {
                (self.found)(at, format!("never decides: way {first} has the same condition"));
                continue;
            }
            let constant = self
                .condition(condition, &at, seen)
                .is_some_and(|names| names.is_empty());
            match constant.then(|| condition.holds(&[])) {
                Some(Ok(true)) => always = Some(index),
                Some(Ok(false)) => (self.found)(at, "never holds: it refers to nothing, and is false".to_owned()),
                Some(Err(reason)) => (self.found)(at, reason),
                None => {}
            }
        }
    }

    /// What a condition refers to, where it is one.
    fn condition(&mut self, condition: &Condition, at: &str, seen: &Seen) -> Option<BTreeSet<Vec<String>>> {
        match condition.references() {
            Ok(references) => {
                for path in &references {
                    self.reference(path, at, seen);
                }
                Some(references)
            }
            Err(reason) => {
                (self.found)(at.to_owned(), reason);
                None
            }
        }
    }

    fn template(&mut self, template: &Value, at: &str, seen: &Seen) {
        match Template::compile_over(NAMES, template) {
            Ok(template) => {
                for reference in template.references() {
                    self.reference(&reference.path, &format!("{at}{}", reference.at), seen);
                }
            }
            Err(error) => (self.found)(format!("{at}{}", error.pointer), error.reason),
        }
    }

    fn reference(&mut self, path: &[String], at: &str, seen: &Seen) {
        let problem = match path.first().map(String::as_str) {
            Some("input") => None,
            Some("steps") => self.step_problem(&path[1..], seen),
            Some(name @ ("item" | "index" | "previous")) if !seen.names.contains(name) => Some(match name {
                "item" => "`item` is there only within a `map`".to_owned(),
                "previous" => "`previous` is there only within a `loop`".to_owned(),
                _ => "`index` is there only within a `loop` or a `map`".to_owned(),
            }),
            Some("item" | "index" | "previous") => None,
            other => {
                let (other, names) = (other.unwrap_or_default(), NAMES.join("`, `"));
                Some(format!("there is no `{other}`; a workflow sees `{names}`"))
            }
        };
        if let Some(problem) = problem {
            (self.found)(at.to_owned(), problem);
        }
    }

    fn step_problem(&self, path: &[String], seen: &Seen) -> Option<String> {
        let (id, member) = (path.first()?, path.get(1).map(String::as_str));
        let Some(place) = self.places.get(id.as_str()) else {
            return Some(format!("there is no step `{id}` in this workflow"));
        };
        if !seen.steps.contains(id) {
            let reason =
                "it comes later, or is within a node that does not always execute it: use the output of that node";
            return Some(format!("`{id}` (at {place}) has not certainly ended here: {reason}"));
        }
        match member {
            None | Some("output") => None,
            Some(member) => Some(format!("a step has no `{member}`; write `steps.{id}.output`")),
        }
    }
}
