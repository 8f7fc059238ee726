//! What the schema of manifests cannot say about agents of kind `model`.

use super::{AgentManifest, ModelConfig, Role, check_variables};

/// Checks the configuration of a model by itself: pointers within the manifest, and what is wrong there. `prompt` is the
/// text of its prompt, as far as that can be read.
pub(super) fn problems(agent: &AgentManifest, model: &ModelConfig, prompt: Option<&str>) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut found = |at: &str, reason: String| problems.push((at.to_owned(), reason));
    if agent.prompt.is_some() && model.instructions.is_some() {
        let reason = "the manifest has a `prompt` already, which holds the instructions";
        found("/model/instructions", reason.to_owned());
    }
    if model.messages.last().is_some_and(|message| message.role != Role::User) {
        found("/model/messages", "the last message must be one of `user`".to_owned());
    }
    if let Some(member) = &model.stream {
        let output = agent.output.document();
        let declared = output.pointer("/properties").and_then(|all| all.get(member));
        if declared.is_none_or(|schema| schema["type"] != "string") {
            let reason = format!("the output has no member `{member}` of the type `string`");
            found("/model/stream", reason);
        }
    }
    if model.cache.is_some() {
        for (at, reason) in cache_problems(agent, model) {
            found(at, reason.to_owned());
        }
    }
    // A prompt that cannot be read is reported already.
    if agent.prompt.is_some() && prompt.is_none() {
        return problems;
    }
    match model.templates(prompt) {
        Err(error) => found(&error.pointer, error.reason.clone()),
        Ok(templates) => {
            let at = if prompt.is_some() {
                "/prompt"
            } else {
                "/model/instructions"
            };
            let instructions = std::iter::once((at.to_owned(), &templates.instructions));
            let messages = templates.messages.iter().enumerate();
            let messages =
                messages.map(|(index, (_, template))| (format!("/model/messages/{index}/content"), template));
            for (at, template) in instructions.chain(messages) {
                for reason in check_variables::problems(agent, template) {
                    found(&at, reason);
                }
            }
        }
    }
    problems
}

/// Why answers cannot be kept: what the same request gets again must be what it would get anyway.
fn cache_problems(agent: &AgentManifest, model: &ModelConfig) -> Vec<(&'static str, &'static str)> {
    let mut problems = Vec::new();
    if model.temperature != Some(0.0) {
        let reason = "must be 0 where `model.cache` keeps answers: otherwise the same request is meant to get another \
                      answer each time. Write 0, or leave `cache` out";
        problems.push(("/model/temperature", reason));
    }
    if !model.tools.is_empty() {
        let reason = "a model whose answers are kept (`model.cache`) uses no tools: what they answer, and do, belongs to \
                      one step. Leave one of the two out";
        problems.push(("/model/tools", reason));
    }
    if agent.memory.is_some() {
        let reason = "an agent with a `memory` keeps no answers: erasing a conversation would not reach them. Leave one of \
                      the two out";
        problems.push(("/model/cache", reason));
    }
    problems
}
