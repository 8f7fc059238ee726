//! The nodes of a workflow, interpreted.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::data::Data;
use super::port::{Interrupted, Ledger};
use crate::agent::{Failure, LocalBoxFuture};
use crate::invocation::Executor;
use crate::manifest::workflow::{Condition, LoopNode, MapNode, Node, NodeKind};
use crate::manifest::{RenderError, Template, TemplateError, WorkflowConfig};
use crate::run::child::Hold;
use crate::run::outcome::StandIn;
use crate::run::work::Execution;

/// Why a workflow comes to no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// It failed.
    Failed(Failure),
    /// It was interrupted, and has no end yet.
    Interrupted,
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Interrupted> for Halt {
    fn from(_: Interrupted) -> Self {
        Self::Interrupted
    }
}

/// An execution of a workflow.
#[derive(Clone, Copy)]
pub struct Running<'a> {
    /// Executes the calls, with another journal and another cancellation for each.
    pub executor: &'a Executor<'a>,
    /// The run's ledger.
    pub ledger: &'a dyn Ledger,
    /// The workflow's own attempt.
    pub execution: &'a Execution,
    /// When it must have ended, in Unix milliseconds.
    pub deadline_at_ms: u64,
    /// The workflow's span.
    pub span: &'a str,
    /// Takes down which calls somebody stood in for.
    pub stand_ins: &'a RefCell<Vec<StandIn>>,
}

/// Interprets a workflow, from its beginning on.
///
/// # Errors
/// The failure of a call, or of a template or a condition; or that the execution was interrupted.
pub async fn run(workflow: &WorkflowConfig, input: &Value, running: &Running<'_>) -> Result<Value, Halt> {
    let mut data = Data::new(input);
    running.list(&workflow.steps, &mut data, "").await?;
    render(workflow.output_template(), &data, "output")
}

impl<'a> Running<'a> {
    /// The workflow's own attempt, as it is held.
    pub(super) fn hold(&self) -> Hold {
        Hold {
            ordinal: self.execution.ordinal,
            generation: self.execution.generation,
        }
    }

    pub(super) fn tell(&self, message: String) {
        self.executor.journal.progress(message, None);
    }

    /// Nodes one after the other. Answers what the last one came to. `within` is the place that they are in: empty, or with
    /// a slash at its end.
    async fn list(&self, nodes: &[Node], data: &mut Data, within: &str) -> Result<Value, Halt> {
        for node in nodes {
            self.node(node, data, within).await?;
        }
        Ok(nodes.last().map(|node| data.output_of(&node.id)).unwrap_or_default())
    }

    /// Executes a node, and notes what it came to.
    fn node<'n>(&'n self, node: &'n Node, data: &'n mut Data, within: &'n str) -> LocalBoxFuture<'n, Result<(), Halt>> {
        Box::pin(async move {
            let place = format!("{within}{}", node.id);
            self.tell(format!("{place}: begun"));
            let output = match &node.kind {
                NodeKind::Call(call) => {
                    let input = render(call.input_template(), data, &place)?;
                    self.call(call, input, &place).await
                }
                NodeKind::Sequence { sequence } => self.list(sequence, data, within).await,
                NodeKind::Parallel { parallel, join } => {
                    let needed = join.needed(parallel.len());
                    self.parallel(parallel, needed, data, (within, &place)).await
                }
                NodeKind::Branch { branch, otherwise } => {
                    let mut way = otherwise.as_deref().unwrap_or_default();
                    for candidate in branch {
                        if holds(&candidate.when, data, &place)? {
                            way = &candidate.then;
                            break;
                        }
                    }
                    self.list(way, &mut data.clone(), within).await
                }
                NodeKind::Loop(node) => self.turns(node, data, &place).await,
                NodeKind::Map(node) => self.items(node, data, &place).await,
            };
            let how = match &output {
                Ok(_) => "completed",
                Err(Halt::Failed(_)) => "failed",
                Err(Halt::Interrupted) => "interrupted",
            };
            self.tell(format!("{place}: {how}"));
            data.ended(&node.id, output?);
            Ok(())
        })
    }

    async fn parallel(
        &self,
        branches: &[Node],
        needed: usize,
        data: &mut Data,
        (within, place): (&str, &str),
    ) -> Result<Value, Halt> {
        let before = &*data;
        let branch = |index: usize| -> LocalBoxFuture<'_, Result<Data, Halt>> {
            Box::pin(async move {
                let mut data = before.clone();
                self.node(&branches[index], &mut data, within).await?;
                Ok(data)
            })
        };
        let completed = self
            .fan_out(place, branches.len(), branches.len(), needed, branch)
            .await?;
        let mut outputs = Map::new();
        for (index, branch) in completed {
            let id = &branches[index].id;
            outputs.insert(id.clone(), branch.output_of(id));
            if needed == branches.len() {
                data.join(branch);
            }
        }
        Ok(Value::Object(outputs))
    }

    async fn turns(&self, node: &LoopNode, data: &Data, place: &str) -> Result<Value, Halt> {
        let mut output = Value::Null;
        for index in 0..node.times_max {
            let mut turn = data.turn(index, output);
            output = self.list(&node.body, &mut turn, &format!("{place}.{index}/")).await?;
            if holds(&node.until, &turn, place)? {
                return Ok(output);
            }
        }
        let message = format!(
            "`{place}` was not done after {} turns: its `until` did not hold",
            node.times_max
        );
        Err(Failure::terminal("workflow-loop-not-done", message).into())
    }

    async fn items(&self, node: &MapNode, data: &Data, place: &str) -> Result<Value, Halt> {
        let Value::Array(items) = render(node.over_template(), data, place)? else {
            let message = format!("`{place}`: its `over` comes to something that is no list");
            return Err(Failure::terminal("workflow-no-list", message).into());
        };
        if items.len() as u64 > node.items_max {
            let message = format!(
                "`{place}` has {} items; its `items_max` is {}",
                items.len(),
                node.items_max
            );
            return Err(Failure::terminal("workflow-items-exceeded", message).into());
        }
        let items = &items;
        let one = |index: usize| -> LocalBoxFuture<'_, Result<Value, Halt>> {
            Box::pin(async move {
                let mut data = data.item(index, items[index].clone());
                self.list(&node.body, &mut data, &format!("{place}.{index}/")).await
            })
        };
        let outputs = self
            .fan_out(place, items.len(), node.concurrency, items.len(), one)
            .await?;
        Ok(outputs.into_values().collect())
    }
}

/// Fills a template in. `place` says where it stands, for people.
fn render(template: Result<&Template, &TemplateError>, data: &Data, place: &str) -> Result<Value, Halt> {
    let template = template.map_err(|error| RenderError {
        pointer: error.pointer.clone(),
        reason: error.reason.clone(),
    });
    let rendered = template.and_then(|template| template.render_over(&data.names()));
    rendered.map_err(|error| Failure::terminal("workflow-data", format!("`{place}`, {error}")).into())
}

fn holds(condition: &Condition, data: &Data, place: &str) -> Result<bool, Halt> {
    condition.holds(&data.names()).map_err(|reason| {
        let message = format!("`{place}`, condition `{}`: {reason}", condition.text());
        Failure::terminal("workflow-condition", message).into()
    })
}
