//! Every attribute's and every metric's name, in one table: the conventions for generative AI are still in development, and change.

/// The version of `semantic-conventions-genai` that the names under `gen_ai.` are from.
pub const GENAI_CONVENTIONS: &str = "0.1.0";

/// What the agent does: [`INVOKE_AGENT`].
pub const GENAI_OPERATION: &str = "gen_ai.operation.name";
/// Who works.
pub const GENAI_AGENT_NAME: &str = "gen_ai.agent.name";
/// In which version.
pub const GENAI_AGENT_VERSION: &str = "gen_ai.agent.version";
/// The run's id, where an orchestrator or a customer gave it.
pub const GENAI_CONVERSATION: &str = "gen_ai.conversation.id";
/// Tokens that the models read.
pub const GENAI_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens that the models wrote.
pub const GENAI_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Which tokens were counted: `input` or `output`.
pub const GENAI_TOKEN_TYPE: &str = "gen_ai.token.type";
/// Whose API a model has: `openai`, `anthropic` and the like.
pub const GENAI_PROVIDER: &str = "gen_ai.provider.name";
/// The model that was asked.
pub const GENAI_MODEL: &str = "gen_ai.request.model";
/// The agent that a model used as its tool.
pub const GENAI_TOOL_NAME: &str = "gen_ai.tool.name";
/// Who runs the tool: `function`, which is the gateway and not the provider.
pub const GENAI_TOOL_TYPE: &str = "gen_ai.tool.type";
/// The operation of a model that is asked.
pub const CHAT: &str = "chat";
/// The operation of a tool that a model uses.
pub const EXECUTE_TOOL: &str = "execute_tool";
/// The operation of an agent at work.
pub const INVOKE_AGENT: &str = "invoke_agent";

/// The class of an error: a problem's or an outcome's code.
pub const ERROR_TYPE: &str = "error.type";
/// The method of a request.
pub const HTTP_METHOD: &str = "http.request.method";
/// The template of a request's path.
pub const HTTP_ROUTE: &str = "http.route";
/// The status of its answer.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// Where a request went: the host.
pub const SERVER_ADDRESS: &str = "server.address";

/// Names the event that a span was made from.
pub const EVENT: &str = "baton.event";
/// What happened, where events are counted: the event, without [`EVENT_PREFIX`].
pub const EVENT_NAME: &str = "baton.event.name";
/// The owner of the run.
pub const ORCHESTRATOR: &str = "baton.orchestrator";
/// The run's id.
pub const RUN: &str = "baton.run";
/// The step's id.
pub const STEP: &str = "baton.step";
/// The step of the workflow that called it.
pub const WORKFLOW_STEP: &str = "baton.workflow.step";
/// The attempt's number.
pub const ATTEMPT: &str = "baton.attempt";
/// The number of the execution, or how many there were.
pub const EXECUTION: &str = "baton.execution";
/// Who coordinated: `orchestrated`, `fallback`, `local`.
pub const ROUTE: &str = "baton.route";
/// The orchestrators that were to coordinate a call before, in their order, with commas.
pub const ROUTE_TRIED: &str = "baton.route.tried";
/// How it ended.
pub const OUTCOME: &str = "baton.outcome";
/// What the models cost, in millionths of the operator's unit of currency.
pub const COST_MICROS: &str = "baton.cost_micros";
/// Whether no model was asked: the answer was kept.
pub const CACHED: &str = "baton.cached";
/// Whether nobody waited for the answer in the request.
pub const BACKGROUND: &str = "baton.background";
/// A handoff's id.
pub const HANDOFF: &str = "baton.handoff";
/// Who handed over.
pub const HANDOFF_FROM: &str = "baton.handoff.from";
/// Why a run was taken over.
pub const TAKEOVER_REASON: &str = "baton.takeover.reason";
/// A callback's `webhook-id`.
pub const DELIVERY: &str = "baton.delivery";
/// How often something was tried.
pub const TRIES: &str = "baton.tries";
/// What changed in a link.
pub const LINK_CHANGE: &str = "baton.link.change";
/// The generation of its lease.
pub const LINK_GENERATION: &str = "baton.link.generation";
/// The id of the key that the gateway is asked to sign with.
pub const LINK_KEY: &str = "baton.link.key";
/// Whether the operator holds the breaker so.
pub const BREAKER_FORCED: &str = "baton.breaker.forced";
/// How many events of the run were dropped so far, because its outbox was full.
pub const DROPPED: &str = "baton.outbox.dropped_events";
/// [`GENAI_CONVENTIONS`].
pub const CONVENTIONS: &str = "baton.genai_conventions";

/// The metric of the tokens that executions used.
pub const GENAI_TOKEN_USAGE: &str = "gen_ai.client.token.usage";
/// The metric of how long models took to answer.
pub const GENAI_OPERATION_DURATION: &str = "gen_ai.client.operation.duration";
/// The metric of how long agents worked: as long as their spans.
pub const GENAI_AGENT_DURATION: &str = "gen_ai.invoke_agent.duration";
/// The metric of the executions that ended.
pub const EXECUTIONS: &str = "baton.executions";
/// The metric of how long they took.
pub const EXECUTION_DURATION: &str = "baton.execution.duration";
/// The metric of what happened beside executions.
pub const EVENTS: &str = "baton.events";
/// Stands before what happened, in the name of the event that a log record is.
pub const EVENT_PREFIX: &str = "baton.";
