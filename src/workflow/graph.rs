//! A workflow as a Mermaid flowchart, for people.

use std::fmt::Write as _;

use crate::manifest::WorkflowConfig;
use crate::manifest::workflow::{Join, Node, NodeKind};

/// The longest condition or template that a label shows in full, in characters.
const LABEL_MAX_CHARS: usize = 80;

/// Draws a workflow, of which `title` says the name.
#[must_use]
pub fn graph(title: &str, workflow: &WorkflowConfig) -> String {
    let mut graph = Graph {
        text: format!("---\ntitle: {title}\n---\nflowchart TD\n"),
        indent: 1,
    };
    graph.line("begin([input])");
    let begin = Exit {
        from: "begin".to_owned(),
        label: None,
    };
    let exits = graph.list(&workflow.steps, vec![begin]);
    graph.line("finish([output])");
    graph.connect(&exits, "finish");
    graph.text
}

struct Graph {
    text: String,
    indent: usize,
}

/// An arrow that does not lead anywhere yet.
struct Exit {
    from: String,
    label: Option<String>,
}

impl Exit {
    fn of(from: &str) -> Vec<Self> {
        vec![Self {
            from: from.to_owned(),
            label: None,
        }]
    }
}

impl Graph {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}{line}", "    ".repeat(self.indent));
    }

    fn connect(&mut self, exits: &[Exit], to: &str) {
        for Exit { from, label } in exits {
            match label {
                Some(label) => self.line(&format!("{from} -- {} --> {to}", quoted(label))),
                None => self.line(&format!("{from} --> {to}")),
            }
        }
    }

    fn list(&mut self, nodes: &[Node], mut exits: Vec<Exit>) -> Vec<Exit> {
        for node in nodes {
            exits = self.node(node, exits);
        }
        exits
    }

    fn node(&mut self, node: &Node, exits: Vec<Exit>) -> Vec<Exit> {
        // With a prefix: some words, such as `end`, mean something to Mermaid.
        let (id, name) = (format!("step_{}", node.id), &node.id);
        match &node.kind {
            NodeKind::Call(call) => {
                let attempts = match call.retry.max_attempts {
                    1 => String::new(),
                    max => format!(", up to {max} attempts"),
                };
                self.line(&format!(
                    "{id}[{}]",
                    quoted(&format!("{name}: {}{attempts}", call.call))
                ));
                self.connect(&exits, &id);
                Exit::of(&id)
            }
            NodeKind::Sequence { sequence } => self.list(sequence, exits),
            NodeKind::Parallel { parallel, join } => {
                let joined = format!("{id}_join");
                self.line(&format!("{id}{{{{{}}}}}", quoted(&format!("{name}: at once"))));
                self.connect(&exits, &id);
                let branches: Vec<_> = parallel
                    .iter()
                    .flat_map(|branch| self.node(branch, Exit::of(&id)))
                    .collect();
                let needed = match join {
                    Join::All => "all".to_owned(),
                    Join::Any => "the first".to_owned(),
                    Join::Quorum(count) => format!("the first {count} of {}", parallel.len()),
                };
                self.line(&format!("{joined}{{{{{}}}}}", quoted(&needed)));
                self.connect(&branches, &joined);
                Exit::of(&joined)
            }
            NodeKind::Branch { branch, otherwise } => {
                self.line(&format!("{id}{{{}}}", quoted(name)));
                self.connect(&exits, &id);
                let labelled = |label: &str| {
                    vec![Exit {
                        from: id.clone(),
                        label: Some(label.to_owned()),
                    }]
                };
                let ways = branch.iter();
                let mut ends: Vec<_> = ways
                    .flat_map(|way| self.list(&way.then, labelled(way.when.text())))
                    .collect();
                ends.extend(self.list(otherwise.as_deref().unwrap_or_default(), labelled("else")));
                ends
            }
            NodeKind::Loop(node) => {
                let title = format!("{name}: until {}, at most {} turns", node.until.text(), node.times_max);
                self.boxed(&id, &title, &node.body, &exits, "again")
            }
            NodeKind::Map(node) => {
                let title = format!("{name}: for each of {}, {} at once", node.over, node.concurrency);
                self.boxed(&id, &title, &node.body, &exits, "next item")
            }
        }
    }

    /// Nodes that are repeated, in a box of their own.
    fn boxed(&mut self, id: &str, title: &str, body: &[Node], exits: &[Exit], again: &str) -> Vec<Exit> {
        let (first, last) = (format!("{id}_first"), format!("{id}_last"));
        self.line(&format!("subgraph {id}[{}]", quoted(title)));
        self.indent += 1;
        self.line(&format!("{first}(( ))"));
        let ends = self.list(body, Exit::of(&first));
        self.line(&format!("{last}(( ))"));
        self.connect(&ends, &last);
        self.line(&format!("{last} -. {again} .-> {first}"));
        self.indent -= 1;
        self.line("end");
        self.connect(exits, &first);
        Exit::of(&last)
    }
}

/// A label: what Mermaid would read in it is written as its entities.
fn quoted(text: &str) -> String {
    let mut label: String = text.chars().take(LABEL_MAX_CHARS).collect();
    if label.len() < text.len() {
        label.push('…');
    }
    let mut escaped = String::new();
    for character in label.chars() {
        match character {
            '#' => escaped.push_str("#35;"),
            '"' => escaped.push_str("#quot;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            '`' => escaped.push_str("#96;"),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Implementation, Team};
    use serde_json::json;

    #[test]
    fn every_kind_of_node_is_drawn() {
        let workflow = json!({
            "output": 1,
            "steps": [
                {"id": "end", "call": "triage", "input": 1, "retry": {"max_attempts": 3}},
                {"id": "both", "join": "any", "parallel": [
                    {"id": "a", "call": "echo", "input": 1},
                    {"id": "s", "sequence": [{"id": "b", "call": "echo", "input": 1}, {"id": "c", "call": "echo", "input": 1}]}
                ]},
                {"id": "way", "branch": [
                    {"when": "input.x < \"#1\"", "then": [{"id": "d", "call": "echo", "input": 1}]}
                ]},
                {"id": "turns", "until": "index > 2", "times_max": 5, "loop": [{"id": "e", "call": "echo", "input": 1}]},
                {"id": "each", "over": {"$value": "/input"}, "items_max": 5, "concurrency": 2,
                 "map": [{"id": "f", "call": "echo", "input": 1}]}
            ]
        });
        let workflow = serde_json::from_value(workflow).unwrap();
        let expected = r##"---
title: sample
---
flowchart TD
    begin([input])
    step_end["end: triage, up to 3 attempts"]
    begin --> step_end
    step_both{{"both: at once"}}
    step_end --> step_both
    step_a["a: echo"]
    step_both --> step_a
    step_b["b: echo"]
    step_both --> step_b
    step_c["c: echo"]
    step_b --> step_c
    step_both_join{{"the first"}}
    step_a --> step_both_join
    step_c --> step_both_join
    step_way{"way"}
    step_both_join --> step_way
    step_d["d: echo"]
    step_way -- "input.x #lt; #quot;#35;1#quot;" --> step_d
    subgraph step_turns["turns: until index #gt; 2, at most 5 turns"]
        step_turns_first(( ))
        step_e["e: echo"]
        step_turns_first --> step_e
        step_turns_last(( ))
        step_e --> step_turns_last
        step_turns_last -. again .-> step_turns_first
    end
    step_d --> step_turns_first
    step_way -- "else" --> step_turns_first
    subgraph step_each["each: for each of {#quot;$value#quot;:#quot;/input#quot;}, 2 at once"]
        step_each_first(( ))
        step_f["f: echo"]
        step_each_first --> step_f
        step_each_last(( ))
        step_f --> step_each_last
        step_each_last -. next item .-> step_each_first
    end
    step_turns_last --> step_each_first
    finish([output])
    step_each_last --> finish
"##;
        assert_eq!(graph("sample", &workflow), expected);
    }

    #[test]
    fn the_graph_in_the_documentation_is_that_of_the_sample() {
        let agent = Team::embedded().agent("support-desk").unwrap();
        let Implementation::Workflow { workflow } = &agent.implementation else {
            panic!("it is a workflow");
        };
        let drawn = graph(&agent.title, workflow);
        assert!(include_str!("../../docs/workflows.md").contains(&drawn), "{drawn}");
    }

    #[test]
    fn a_label_is_cut() {
        assert_eq!(
            quoted(&"ä".repeat(LABEL_MAX_CHARS)),
            format!("\"{}\"", "ä".repeat(LABEL_MAX_CHARS))
        );
        assert_eq!(
            quoted(&"ä".repeat(LABEL_MAX_CHARS + 1)),
            format!("\"{}…\"", "ä".repeat(LABEL_MAX_CHARS))
        );
        assert_eq!(quoted("a\nb"), "\"a b\"");
    }
}
