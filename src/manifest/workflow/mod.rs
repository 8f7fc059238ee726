//! Kind `workflow`: agents of the team called in an order that the manifest writes down.
//!
//! A workflow is a list of nodes, executed one after the other; a node calls an agent, or holds further nodes. What a node
//! came to is `steps.ID.output` for those that come after it. Templates ([`Template`]) make the inputs, conditions
//! ([`Condition`]) decide the way.

#[cfg(not(target_arch = "wasm32"))]
pub(super) mod check;
mod condition;
pub(super) mod reach;
#[cfg(not(target_arch = "wasm32"))]
mod scope;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use condition::{CONDITION_MAX_CHARS, Condition};
pub use reach::place_max_bytes;

use super::kept::Kept;
use super::{RetryPolicy, Template, TemplateError};

/// A workflow has at most this many nodes.
pub const NODES_MAX: usize = 100;
/// Nodes stand within each other at most this deep.
pub const NESTING_MAX: usize = 8;
/// So much of a workflow may be under way at once: branches of a `parallel`, items of a `map`.
pub const FAN_OUT_MAX: usize = 16;
/// A `map` may be allowed this many items at most.
pub const ITEMS_MAX: u64 = 100;
/// A `loop` may be allowed this many turns at most.
pub const TIMES_MAX: u64 = 100;
/// A workflow may come to this many calls at most, each attempt counted, and those of the workflows that it calls.
pub const CALLS_MAX: u64 = 500;
/// Workflows may call each other this deep: one that calls none has the depth 1.
pub const DEPTH_MAX: usize = 4;
/// The place of a call is at most this long, in bytes: it is a part of its step's id.
pub const PLACE_MAX_BYTES: usize = 80;

/// What templates and conditions of a workflow can see.
pub const NAMES: &[&str] = &["input", "steps", "item", "index", "previous"];

/// The configuration of kind `workflow`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowConfig {
    /// Executed from first to last.
    pub steps: Vec<Node>,
    /// A template of the output.
    pub output: Value,
    #[serde(skip)]
    output_compiled: Kept<Template>,
}

impl WorkflowConfig {
    /// The template of the output, compiled once.
    ///
    /// # Errors
    /// What [`Template::compile_over`] says; never for a manifest that passed its check.
    pub fn output_template(&self) -> Result<&Template, &TemplateError> {
        self.output_compiled.get(|| Template::compile_over(NAMES, &self.output))
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, of which there is one in the workflow: `[a-z][a-z0-9_]{0,30}`.
    pub id: String,
    /// What it does.
    #[serde(flatten)]
    pub kind: NodeKind,
}

/// What a node does. The field that a node has says which kind it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NodeKind {
    /// Calls an agent. Its output is the agent's.
    Call(CallNode),
    /// Executes nodes one after the other. Its output is the last one's.
    Sequence {
        /// The nodes.
        sequence: Vec<Node>,
    },
    /// Executes nodes beside each other. Its output is an object with the outputs that count, by the branches' ids.
    Parallel {
        /// The branches.
        parallel: Vec<Node>,
        /// How many of them count.
        #[serde(default)]
        join: Join,
    },
    /// Goes one way of several. Its output is that of the last node there; null where it goes none.
    Branch {
        /// The ways, in the order in which their conditions are tried.
        branch: Vec<Way>,
        /// Where it goes if no condition holds.
        #[serde(default, rename = "else", skip_serializing_if = "Option::is_none")]
        otherwise: Option<Vec<Node>>,
    },
    /// Goes round until a condition holds. Its output is that of the last turn's last node.
    Loop(LoopNode),
    /// Does the same for each item of a list. Its output is the list of what came of them, in their order.
    Map(MapNode),
}

/// A call of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallNode {
    /// The agent's id.
    pub call: String,
    /// A template of its input.
    pub input: Value,
    /// How often it is attempted, where it fails in a way that may pass. Not again, where nothing is said.
    #[serde(default, skip_serializing_if = "is_once")]
    pub retry: RetryPolicy,
    #[serde(skip)]
    input_compiled: Kept<Template>,
}

fn is_once(retry: &RetryPolicy) -> bool {
    *retry == RetryPolicy::default()
}

impl CallNode {
    /// The template of the input, compiled once.
    ///
    /// # Errors
    /// What [`Template::compile_over`] says; never for a manifest that passed its check.
    pub fn input_template(&self) -> Result<&Template, &TemplateError> {
        self.input_compiled.get(|| Template::compile_over(NAMES, &self.input))
    }
}

/// How many branches of a `parallel` must complete. The others are cancelled as soon as these have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// Every one.
    #[default]
    All,
    /// The first one.
    Any,
    /// So many.
    Quorum(usize),
}

impl Join {
    /// How many of so many branches.
    #[must_use]
    pub const fn needed(self, branches: usize) -> usize {
        match self {
            Self::All => branches,
            Self::Any => 1,
            Self::Quorum(count) => count,
        }
    }
}

/// One way of a `branch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// The condition.
    pub when: Condition,
    /// Executed from first to last.
    pub then: Vec<Node>,
}

/// Nodes that are repeated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoopNode {
    /// One turn. Sees `index`, from 0, and `previous`: the output of the turn before, null in the first.
    #[serde(rename = "loop")]
    pub body: Vec<Node>,
    /// Looked at after each turn, whose nodes it sees.
    pub until: Condition,
    /// A loop that is not done after so many turns has failed.
    pub times_max: u64,
}

/// Nodes that are executed for each item of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapNode {
    /// What is done for one item. Sees `item`, and `index`, from 0.
    #[serde(rename = "map")]
    pub body: Vec<Node>,
    /// A template of the list.
    pub over: Value,
    /// So many items are under way at once.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub concurrency: usize,
    /// A longer list is a failure.
    pub items_max: u64,
    #[serde(skip)]
    over_compiled: Kept<Template>,
}

const fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(concurrency: &usize) -> bool {
    *concurrency == 1
}

impl MapNode {
    /// The template of the list, compiled once.
    ///
    /// # Errors
    /// What [`Template::compile_over`] says; never for a manifest that passed its check.
    pub fn over_template(&self) -> Result<&Template, &TemplateError> {
        self.over_compiled.get(|| Template::compile_over(NAMES, &self.over))
    }
}

impl Node {
    /// The lists of nodes within it, each with its JSON Pointer from here.
    #[must_use]
    pub fn inner(&self) -> Vec<(String, &[Node])> {
        match &self.kind {
            NodeKind::Call(_) => Vec::new(),
            NodeKind::Sequence { sequence } => vec![("/sequence".to_owned(), sequence)],
            NodeKind::Parallel { parallel, .. } => vec![("/parallel".to_owned(), parallel)],
            NodeKind::Branch { branch, otherwise } => {
                let ways = branch.iter().enumerate();
                let ways = ways.map(|(index, way)| (format!("/branch/{index}/then"), way.then.as_slice()));
                let otherwise = otherwise.as_deref().map(|nodes| ("/else".to_owned(), nodes));
                ways.chain(otherwise).collect()
            }
            NodeKind::Loop(node) => vec![("/loop".to_owned(), &node.body)],
            NodeKind::Map(node) => vec![("/map".to_owned(), &node.body)],
        }
    }
}
