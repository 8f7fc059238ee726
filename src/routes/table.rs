//! The rows of the route table.

use super::{Access, Action, Messages, Route};
use crate::link::Command;
use crate::signature::Purpose;

const INVOKE: Access = Access::Signed {
    purpose: Purpose::Invoke,
    idempotency: true,
};

/// Calls that are safe to repeat by what they are.
const READ: Access = Access::Signed {
    purpose: Purpose::Invoke,
    idempotency: false,
};

const OPERATE: Access = Access::Signed {
    purpose: Purpose::Operate,
    idempotency: false,
};

/// Every route.
pub const ROUTES: [Route; 46] = [
    Route {
        method: "GET",
        template: "/.well-known/baton.json",
        action: Action::Discovery,
        access: Access::Open,
        summary: "The discovery manifest: agents with their schemas, endpoints, limits and signature profile",
        messages: Messages {
            request: None,
            response: Some("discovery"),
        },
    },
    Route {
        method: "GET",
        template: "/openapi.json",
        action: Action::OpenApi,
        access: Access::Open,
        summary: "This surface as an OpenAPI 3.1 document",
        messages: Messages {
            request: None,
            response: Some("openapi"),
        },
    },
    Route {
        method: "GET",
        template: "/healthz",
        action: Action::Health,
        access: Access::Open,
        summary: "Whether the gateway can serve",
        messages: Messages {
            request: None,
            response: Some("health"),
        },
    },
    Route {
        method: "POST",
        template: "/link/challenge",
        action: Action::Challenge,
        access: READ,
        summary: "Proves to an orchestrator that this origin is the gateway that registers",
        messages: Messages {
            request: Some("challenge"),
            response: Some("challenge-answer"),
        },
    },
    Route {
        method: "POST",
        template: "/agents/{agent}/steps",
        action: Action::InvokeStep,
        access: INVOKE,
        summary: "Invokes a step of a run on an agent, exactly once per idempotency key",
        messages: Messages {
            request: Some("step-invocation"),
            response: Some("step-outcome"),
        },
    },
    Route {
        method: "POST",
        template: "/agents/{agent}/handoffs",
        action: Action::HandOff,
        access: INVOKE,
        summary: "Hands a run with its state over to an agent, and answers a receipt",
        messages: Messages {
            request: Some("handoff"),
            response: Some("handoff-receipt"),
        },
    },
    Route {
        method: "GET",
        template: "/runs/{run}",
        action: Action::DescribeRun,
        access: READ,
        summary: "A run: its state's versions, its steps and its handoffs",
        messages: Messages {
            request: None,
            response: Some("run"),
        },
    },
    Route {
        method: "DELETE",
        template: "/runs/{run}",
        action: Action::ForgetRun,
        access: READ,
        summary: "Forgets a run at once; what is under way is cancelled",
        messages: Messages {
            request: None,
            response: None,
        },
    },
    Route {
        method: "GET",
        template: "/runs/{run}/state",
        action: Action::ReadState,
        access: READ,
        summary: "The state that the run keeps, in its current version or in the one that `version` names",
        messages: Messages {
            request: None,
            response: Some("state"),
        },
    },
    Route {
        method: "PUT",
        template: "/runs/{run}/state",
        action: Action::PutState,
        access: READ,
        summary: "Writes the next version of the run's state, on top of the one that If-Match names",
        messages: Messages {
            request: Some("state"),
            response: Some("state-receipt"),
        },
    },
    Route {
        method: "GET",
        template: "/runs/{run}/steps/{step}",
        action: Action::StepStatus,
        access: READ,
        summary: "How far a step has come, and its answer; waits with Prefer: wait, streams with Accept: text/event-stream",
        messages: Messages {
            request: None,
            response: Some("step-status"),
        },
    },
    Route {
        method: "POST",
        template: "/runs/{run}/steps/{step}/cancel",
        action: Action::CancelStep,
        access: READ,
        summary: "Cancels a step, if it has not ended",
        messages: Messages {
            request: None,
            response: Some("step-status"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/runs/{orchestrator}/{run}",
        action: Action::OperatorRun,
        access: OPERATE,
        summary: "Any run, whoever's it is: `:gateway` stands for runs that no orchestrator plans",
        messages: Messages {
            request: None,
            response: Some("run"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/dead-letters",
        action: Action::DeadLetters,
        access: OPERATE,
        summary: "Callbacks that were given up, newest first",
        messages: Messages {
            request: None,
            response: Some("dead-letters"),
        },
    },
    Route {
        method: "POST",
        template: "/operator/dead-letters/{delivery}/resend",
        action: Action::Resend,
        access: OPERATE,
        summary: "Sends a callback that was given up again",
        messages: Messages {
            request: None,
            response: Some("resent"),
        },
    },
    Route {
        method: "GET",
        template: "/",
        action: Action::Page,
        access: Access::Page,
        summary: "The operator's page",
        messages: Messages {
            request: None,
            response: None,
        },
    },
    Route {
        method: "GET",
        template: "/page/{file}",
        action: Action::PageFile,
        access: Access::Page,
        summary: "A file of the operator's page",
        messages: Messages {
            request: None,
            response: None,
        },
    },
    Route {
        method: "POST",
        template: "/session",
        action: Action::SignIn,
        access: OPERATE,
        summary: "Signs an operator's browser in: answers a cookie that stands for signatures for a while",
        messages: Messages {
            request: None,
            response: Some("session"),
        },
    },
    Route {
        method: "GET",
        template: "/session",
        action: Action::Session,
        access: Access::Open,
        summary: "Whether this browser is signed in",
        messages: Messages {
            request: None,
            response: Some("session"),
        },
    },
    Route {
        method: "DELETE",
        template: "/session",
        action: Action::SignOut,
        access: OPERATE,
        summary: "Signs this browser out",
        messages: Messages {
            request: None,
            response: None,
        },
    },
    Route {
        method: "POST",
        template: "/query",
        action: Action::Query,
        access: Access::ApiKey,
        summary: "Answers a customer's text: the router chooses the agent; the orchestrator coordinates while it answers",
        messages: Messages {
            request: Some("query"),
            response: Some("query-answer"),
        },
    },
    Route {
        method: "POST",
        template: "/agents/{agent}/query",
        action: Action::QueryAgent,
        access: Access::ApiKey,
        summary: "Answers a customer's text or input by this agent; the orchestrator coordinates while it answers",
        messages: Messages {
            request: Some("query"),
            response: Some("query-answer"),
        },
    },
    Route {
        method: "DELETE",
        template: "/conversations/{conversation}",
        action: Action::EraseConversation,
        access: Access::ApiKey,
        summary: "Erases a conversation of the customer's own, also what is still being said in it",
        messages: Messages {
            request: None,
            response: None,
        },
    },
    Route {
        method: "GET",
        template: "/operator/conversations/{owner}/{conversation}",
        action: Action::OperatorConversation,
        access: OPERATE,
        summary: "What is kept of a conversation, whoever's it is",
        messages: Messages {
            request: None,
            response: Some("conversation"),
        },
    },
    Route {
        method: "DELETE",
        template: "/operator/conversations/{owner}/{conversation}",
        action: Action::OperatorEraseConversation,
        access: OPERATE,
        summary: "Erases a conversation, whoever's it is",
        messages: Messages {
            request: None,
            response: None,
        },
    },
    Route {
        method: "POST",
        template: "/operator/api-keys",
        action: Action::CreateApiKey,
        access: OPERATE,
        summary: "Makes an API key for a customer, and shows its text once",
        messages: Messages {
            request: Some("api-key-request"),
            response: Some("api-key-created"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/api-keys",
        action: Action::ApiKeys,
        access: OPERATE,
        summary: "The API keys of customers, newest first, without their texts",
        messages: Messages {
            request: None,
            response: Some("api-keys"),
        },
    },
    Route {
        method: "DELETE",
        template: "/operator/api-keys/{key}",
        action: Action::RevokeApiKey,
        access: OPERATE,
        summary: "Revokes an API key at once and for good",
        messages: Messages {
            request: None,
            response: None,
        },
    },
    Route {
        method: "GET",
        template: "/metrics",
        action: Action::Scrape,
        access: Access::MetricsToken,
        summary: "Totals and states for a Prometheus, in its text format",
        messages: Messages {
            request: None,
            response: None,
        },
    },
    Route {
        method: "GET",
        template: "/agents/{agent}/metrics",
        action: Action::Metrics,
        access: OPERATE,
        summary: "What the executions of an agent come to in a window: counts, rates, percentiles, tokens",
        messages: Messages {
            request: None,
            response: Some("agent-metrics"),
        },
    },
    Route {
        method: "GET",
        template: "/executions",
        action: Action::Executions,
        access: OPERATE,
        summary: "The history of executions, newest first, as JSON, CSV or JSON Lines",
        messages: Messages {
            request: None,
            response: Some("executions"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/outbox",
        action: Action::Outbox,
        access: OPERATE,
        summary: "Events that wait for a destination, and events that were given up",
        messages: Messages {
            request: None,
            response: Some("outbox"),
        },
    },
    Route {
        method: "POST",
        template: "/operator/outbox/{letter}/resend",
        action: Action::ResendEvent,
        access: OPERATE,
        summary: "Sends an event that was given up again, once",
        messages: Messages {
            request: None,
            response: Some("outbox-resent"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/overrides",
        action: Action::Overrides,
        access: OPERATE,
        summary: "What operators changed of agents without a deployment: the current version",
        messages: Messages {
            request: None,
            response: Some("overrides"),
        },
    },
    Route {
        method: "PUT",
        template: "/operator/overrides/{agent}",
        action: Action::PutOverride,
        access: OPERATE,
        summary: "Changes an agent without a deployment, on top of the version that If-Match names",
        messages: Messages {
            request: Some("agent-override"),
            response: Some("overrides"),
        },
    },
    Route {
        method: "DELETE",
        template: "/operator/overrides/{agent}",
        action: Action::DeleteOverride,
        access: OPERATE,
        summary: "Lets an agent be as it was deployed again",
        messages: Messages {
            request: None,
            response: Some("overrides"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/overrides/versions",
        action: Action::OverrideVersions,
        access: OPERATE,
        summary: "The versions of the overrides that are kept, newest first",
        messages: Messages {
            request: None,
            response: Some("override-versions"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/overrides/versions/{version}",
        action: Action::OverrideVersion,
        access: OPERATE,
        summary: "One version of the overrides",
        messages: Messages {
            request: None,
            response: Some("overrides"),
        },
    },
    Route {
        method: "POST",
        template: "/operator/overrides/rollback",
        action: Action::RollBackOverrides,
        access: OPERATE,
        summary: "Puts the overrides of an earlier version in force again, as a new version",
        messages: Messages {
            request: Some("override-rollback"),
            response: Some("overrides"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/alerts",
        action: Action::Alerts,
        access: OPERATE,
        summary: "The alerts that the gateway declares, and how each stands",
        messages: Messages {
            request: None,
            response: Some("alerts"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/links",
        action: Action::Links,
        access: OPERATE,
        summary: "The links to all orchestrators: registration, lease and breaker",
        messages: Messages {
            request: None,
            response: Some("links"),
        },
    },
    Route {
        method: "GET",
        template: "/operator/links/{orchestrator}",
        action: Action::Link,
        access: OPERATE,
        summary: "The link to one orchestrator",
        messages: Messages {
            request: None,
            response: Some("link"),
        },
    },
    Route {
        method: "POST",
        template: "/operator/links/{orchestrator}/register",
        action: Action::OrderLink(Command::Register),
        access: OPERATE,
        summary: "Registers with the orchestrator, or ends the draining of the link",
        messages: Messages {
            request: None,
            response: Some("link"),
        },
    },
    Route {
        method: "POST",
        template: "/operator/links/{orchestrator}/drain",
        action: Action::OrderLink(Command::Drain),
        access: OPERATE,
        summary: "Asks the orchestrator for no new steps, and deregisters a little later",
        messages: Messages {
            request: None,
            response: Some("link"),
        },
    },
    Route {
        method: "POST",
        template: "/operator/links/{orchestrator}/deregister",
        action: Action::OrderLink(Command::Deregister),
        access: OPERATE,
        summary: "Ends the registration, until the link is told to register",
        messages: Messages {
            request: None,
            response: Some("link"),
        },
    },
    Route {
        method: "POST",
        template: "/operator/links/{orchestrator}/breaker",
        action: Action::SetBreaker,
        access: OPERATE,
        summary: "Holds the breaker before the orchestrator open or closed, or lets it go",
        messages: Messages {
            request: Some("breaker-order"),
            response: Some("link"),
        },
    },
];
