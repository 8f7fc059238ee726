//! What the templates and conditions of a workflow see, at one place of it.

use std::rc::Rc;

use serde_json::{Map, Value, json};

/// The values, by their names in the manifest.
#[derive(Debug, Clone)]
pub(super) struct Data {
    input: Rc<Value>,
    /// `{ID: {"output": ...}}` of the nodes that have ended.
    steps: Value,
    item: Option<Rc<Value>>,
    index: Option<Value>,
    previous: Option<Value>,
}

impl Data {
    /// At the workflow's beginning.
    pub(super) fn new(input: &Value) -> Self {
        Self {
            input: Rc::new(input.clone()),
            steps: Value::Object(Map::new()),
            item: None,
            index: None,
            previous: None,
        }
    }

    /// In one turn of a loop. What is of the turn before is its output.
    pub(super) fn turn(&self, index: u64, previous: Value) -> Self {
        Self {
            index: Some(index.into()),
            previous: Some(previous),
            ..self.clone()
        }
    }

    /// At one item of a map.
    pub(super) fn item(&self, index: usize, item: Value) -> Self {
        Self {
            index: Some(index.into()),
            item: Some(Rc::new(item)),
            ..self.clone()
        }
    }

    /// Notes what a node came to.
    pub(super) fn ended(&mut self, id: &str, output: Value) {
        if let Value::Object(steps) = &mut self.steps {
            steps.insert(id.to_owned(), json!({ "output": output }));
        }
    }

    /// Takes over what has ended in a branch.
    pub(super) fn join(&mut self, branch: Self) {
        if let (Value::Object(steps), Value::Object(ended)) = (&mut self.steps, branch.steps) {
            steps.extend(ended);
        }
    }

    /// What a node came to, which has ended; null if it has not.
    pub(super) fn output_of(&self, id: &str) -> Value {
        self.steps
            .pointer(&format!("/{id}/output"))
            .cloned()
            .unwrap_or_default()
    }

    /// The values that are there, for templates and conditions.
    pub(super) fn names(&self) -> Vec<(&'static str, &Value)> {
        let mut names = vec![("input", self.input.as_ref()), ("steps", &self.steps)];
        names.extend(self.item.as_deref().map(|item| ("item", item)));
        names.extend(self.index.as_ref().map(|index| ("index", index)));
        names.extend(self.previous.as_ref().map(|previous| ("previous", previous)));
        names
    }
}
