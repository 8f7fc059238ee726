//! Trying a template with values that it may be given, so that what would fail later is found when it is written.
//!
//! The values are wrapped: each object and array knows where it stands. So a trial can name the variable that is missing, or
//! that has no text of its own.

use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Enumerator, Object, ObjectRepr, Serde, ValueKind};
use minijinja::{Environment, ErrorKind, escape_formatter};
use serde_json::Value;

use super::{Names, Part, Template, reason};

/// What came of a trial that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A variable that is not there is used as if it were.
    Missing {
        /// The line of the template, from 1.
        line: usize,
        /// The variable, such as `input.items[0].name`, as far as it is known.
        variable: Option<String>,
    },
    /// An object or an array is written as it is, which has no text of its own.
    Bare {
        /// The line of the template, from 1.
        line: usize,
        /// The variable; nothing where an expression made the value.
        variable: Option<String>,
    },
    /// Something else, as the end of a sentence.
    Other {
        /// The line of the template, from 1.
        line: usize,
        /// What.
        reason: &'static str,
    },
}

/// Tries one template, which is a string.
pub struct Trial {
    environment: Environment<'static>,
    name: String,
    seen: Arc<Seen>,
}

/// What a trial came across last.
#[derive(Debug, Default)]
struct Seen {
    missing: Mutex<Option<String>>,
    bare: Mutex<Option<Bare>>,
}

/// Something without a text of its own, by the variable that it is.
#[derive(Debug)]
struct Bare(Option<String>);

fn note<T>(place: &Mutex<Option<T>>, value: Option<T>) -> Option<T> {
    std::mem::replace(&mut *place.lock().unwrap_or_else(PoisonError::into_inner), value)
}

impl Trial {
    /// A trial of a template; nothing where it has no variables.
    pub fn of(template: &Template) -> Option<Self> {
        let Part::Text(name) = &template.root else { return None };
        let (mut environment, seen) = (template.strings.clone(), Arc::<Seen>::default());
        let noted = seen.clone();
        environment.set_formatter(move |out, state, value| {
            let variable = value.downcast_object_ref::<Placed>().map(|placed| placed.path.clone());
            let is_bare = matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable);
            if !is_bare {
                return escape_formatter(out, state, value);
            }
            note(&noted.bare, Some(Bare(variable)));
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, "no text of its own"))
        });
        Some(Self {
            environment,
            name: name.clone(),
            seen,
        })
    }

    /// Fills the template in with the values of these names.
    ///
    /// # Errors
    /// The first thing that does not work.
    pub fn run(&self, names: Names<'_>) -> Result<(), Trouble> {
        note(&self.seen.missing, None);
        note(&self.seen.bare, None);
        let names = names.iter();
        let context = names.map(|(name, value)| (*name, placed(value, (*name).to_owned(), &self.seen)));
        let context = minijinja::Value::from_pairs(context);
        let rendered = self.environment.get_template(&self.name);
        let Err(error) = rendered.and_then(|template| template.render(context)) else {
            return Ok(());
        };
        let line = error.line().unwrap_or(1);
        if let Some(Bare(variable)) = note(&self.seen.bare, None) {
            return Err(Trouble::Bare { line, variable });
        }
        Err(match error.kind() {
            ErrorKind::UndefinedError => Trouble::Missing {
                line,
                variable: note(&self.seen.missing, None),
            },
            _ => Trouble::Other {
                line,
                reason: reason(&error),
            },
        })
    }
}

/// An object or an array that knows where it stands.
#[derive(Debug)]
struct Placed {
    value: Value,
    path: String,
    seen: Arc<Seen>,
}

fn placed(value: &Value, path: String, seen: &Arc<Seen>) -> minijinja::Value {
    match value {
        Value::Object(_) | Value::Array(_) => minijinja::Value::from_object(Placed {
            value: value.clone(),
            path,
            seen: seen.clone(),
        }),
        plain => minijinja::Value::from(Serde(plain)),
    }
}

impl Object for Placed {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.value {
            Value::Array(_) => ObjectRepr::Seq,
            _ => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &minijinja::Value) -> Option<minijinja::Value> {
        let (found, path) = match &self.value {
            Value::Array(items) => {
                let index = key.as_usize()?;
                (items.get(index), format!("{}[{index}]", self.path))
            }
            object => {
                let name = key.as_str()?;
                (object.get(name), format!("{}.{name}", self.path))
            }
        };
        match found {
            Some(value) => Some(placed(value, path, &self.seen)),
            None => {
                note(&self.seen.missing, Some(path));
                None
            }
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.value {
            Value::Array(items) => Enumerator::Seq(items.len()),
            Value::Object(members) => Enumerator::Values(members.keys().map(minijinja::Value::from).collect()),
            _ => Enumerator::Empty,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: Result<(), Trouble>) {
        let input = json!({
            "name": "Ada", "n": 2, "contact": {"mail": "a@b.example"}, "tags": ["x"], "items": [{"id": 1}, {}], "none": null,
        });
        let template = Template::compile(&text.into()).unwrap();
        let trial = Trial::of(&template).expect("a template with variables");
        let tried = trial.run(&[("input", &input), ("state", &Value::Null)]);
        assert_eq!(tried, expected, "{text}");
        // What is tried and what is rendered later are the same, but for what has no text of its own.
        let rendered = template.render(&input, None);
        let bare = matches!(tried, Err(Trouble::Bare { .. }));
        assert_eq!(rendered.is_ok(), tried.is_ok() || bare, "{text}: {rendered:?}");
    }

    fn missing(line: usize, variable: &str) -> Result<(), Trouble> {
        let variable = Some(variable.to_owned());
        Err(Trouble::Missing { line, variable })
    }

    fn bare(variable: Option<&str>) -> Result<(), Trouble> {
        let variable = variable.map(str::to_owned);
        Err(Trouble::Bare { line: 1, variable })
    }

    #[test]
    fn what_works_passes() {
        for text in [
            "{{ input.name }} {{ input.n + 1 }} {{ input.none }}",
            "{{ input.contact.mail }} {{ input.tags[0] }} {{ input.tags[-1] }}",
            "{% for tag in input.tags %}{{ tag }}{% endfor %}{% for key in input.contact %}{{ key }}{% endfor %}",
            "{% for key, value in input.contact | items %}{{ key }}: {{ value }}{% endfor %}",
            "{{ input.contact | tojson }} {{ input.tags | join(', ') }} {{ input.items | length }}",
            "{{ input.other | default('x') }}{% if input.other is defined %}{{ input.other }}{% endif %}",
            "{{ state.visits | default(0) }}{% if 'mail' in input.contact %}yes{% endif %}",
        ] {
            check(text, Ok(()));
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        check("{{ input.other }}", missing(1, "input.other"));
        check(
            "Hello.\n\n{{ input.contact.phone | upper }}",
            missing(3, "input.contact.phone"),
        );
        check("{{ input.other.name }}", missing(1, "input.other"));
        check("{{ input.tags[1] }}", missing(1, "input.tags[1]"));
        check(
            "{% for item in input.items %}{{ item.id }}{% endfor %}",
            missing(1, "input.items[1].id"),
        );
        check(
            "{{ input.other | default('x') }}{{ input.contact.phone }}",
            missing(1, "input.contact.phone"),
        );
        // Nobody knows which of the members of nothing was meant.
        check(
            "{{ state.visits }}",
            Err(Trouble::Missing {
                line: 1,
                variable: None,
            }),
        );
    }

    #[test]
    fn what_has_no_text_of_its_own_is_named() {
        check("{{ input }}", bare(Some("input")));
        check("{{ input.contact }}", bare(Some("input.contact")));
        check("{{ input.tags }}", bare(Some("input.tags")));
        check(
            "{% for item in input.items %}{{ item }}{% endfor %}",
            bare(Some("input.items[0]")),
        );
        check("{{ input.tags | list }}", bare(None));
        check("{{ [input.name] }}", bare(None));
    }

    #[test]
    fn anything_else_is_told_without_the_value() {
        let check_reason = |text: &str, expected: &str| {
            let template = Template::compile(&text.into()).unwrap();
            let input = json!({"name": "Ada"});
            match Trial::of(&template).unwrap().run(&[("input", &input)]) {
                Err(Trouble::Other { reason, .. }) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{text}: {other:?}"),
            }
        };
        check_reason("{{ input.name / 2 }}", "does not fit");
        check_reason(
            "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
            "too long",
        );
        assert!(Trial::of(&Template::compile(&"Hello.".into()).unwrap()).is_none());
    }
}
