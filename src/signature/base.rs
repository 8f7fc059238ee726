//! The signature base (RFC 9421 section 2.5): the exact bytes that a signature covers.

use http::HeaderMap;
use http::header::HeaderName;
use sfv::BareItem;

use super::structured::{Item, Parameters, serialise_string};

/// The parts of a request that a signature can cover.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// In upper case, as on the wire.
    pub method: &'a str,
    /// Host, and port where it is not the scheme's default; in lower case.
    pub authority: &'a str,
    /// As on the wire, still percent-encoded.
    pub path: &'a str,
    /// Without the `?`.
    pub query: Option<&'a str>,
    /// All header fields.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestView<'a> {
    /// The view of a request whose URI is absolute.
    ///
    /// # Errors
    /// When the URI has no authority: there is nothing to bind the signature to.
    pub fn of<B>(request: &'a http::Request<B>) -> Result<Self, BaseError> {
        let uri = request.uri();
        Ok(Self {
            method: request.method().as_str(),
            authority: authority(uri).ok_or(BaseError::NoAuthority)?,
            path: uri.path(),
            query: uri.query(),
            headers: request.headers(),
        })
    }
}

/// The URI's authority without a default port.
fn authority(uri: &http::Uri) -> Option<&str> {
    let authority = uri.authority()?.as_str();
    match uri.scheme_str() {
        Some("https") => Some(authority.strip_suffix(":443").unwrap_or(authority)),
        Some("http") => Some(authority.strip_suffix(":80").unwrap_or(authority)),
        _ => Some(authority),
    }
}

/// What a signature is about.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// A request.
    Request(RequestView<'a>),
    /// A response, bound to its request by components with `;req`.
    Response {
        /// The status code.
        status: u16,
        /// The response's header fields.
        headers: &'a HeaderMap,
        /// The request that it answers.
        request: RequestView<'a>,
    },
}

/// A covered component: a header field in lower case, or a derived component with its `@`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Whether it is taken from the request that a response answers.
    pub of_request: bool,
}

impl Component {
    /// A component of the message itself.
    #[must_use]
    pub fn own(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            of_request: false,
        }
    }

    /// A component of the request that the response answers (`;req`).
    #[must_use]
    pub fn of_request(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            of_request: true,
        }
    }

    /// Reads a component identifier. Of RFC 9421's component parameters the profile knows `req` alone.
    pub(super) fn from_item(item: &Item) -> Result<Self, BaseError> {
        let name = match &item.value {
            BareItem::String(name) => name.as_str().to_owned(),
            _ => return Err(BaseError::ComponentName),
        };
        let of_request = match item.parameters.as_slice() {
            [] => false,
            [(key, BareItem::Boolean(true))] if key == "req" => true,
            _ => return Err(BaseError::ComponentParameter(name)),
        };
        Ok(Self { name, of_request })
    }

    fn identifier(&self) -> String {
        let req = if self.of_request { ";req" } else { "" };
        format!("\"{}\"{req}", self.name)
    }
}

/// Why no base can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message says it")]
pub enum BaseError {
    #[error("the request has no authority")]
    NoAuthority,
    #[error("a covered component is no string")]
    ComponentName,
    #[error("component `{0}` has a parameter other than `req`")]
    ComponentParameter(String),
    #[error("component `{0}` is covered twice")]
    Duplicate(String),
    #[error("component `{0}` is covered, but the message does not have it")]
    Missing(String),
    #[error("component `{0}` cannot be taken from this message")]
    Unknown(String),
    #[error("signature parameter `{0}` is neither a string nor an integer")]
    ParameterType(String),
}

/// The value of `@signature-params`: what also stands in `Signature-Input` behind the label.
///
/// # Errors
/// When a parameter is of a type that no profile of ours uses.
pub fn signature_params(components: &[Component], parameters: &Parameters) -> Result<String, BaseError> {
    let identifiers: Vec<_> = components.iter().map(Component::identifier).collect();
    let mut text = format!("({})", identifiers.join(" "));
    for (name, value) in parameters {
        let value = match value {
            BareItem::Integer(number) => number.to_string(),
            BareItem::String(value) => {
                serialise_string(value.as_str()).map_err(|_| BaseError::ParameterType(name.clone()))?
            }
            _ => return Err(BaseError::ParameterType(name.clone())),
        };
        text.push_str(&format!(";{name}={value}"));
    }
    Ok(text)
}

/// The signature base of these components, in this order, with these parameters.
///
/// # Errors
/// When a component is missing from the message, covered twice, or unknown.
pub fn signature_base(
    subject: &Subject<'_>,
    components: &[Component],
    parameters: &Parameters,
) -> Result<String, BaseError> {
    let mut base = String::with_capacity(512);
    for (index, component) in components.iter().enumerate() {
        if components[..index].contains(component) {
            return Err(BaseError::Duplicate(component.name.clone()));
        }
        base.push_str(&component.identifier());
        base.push_str(": ");
        base.push_str(&value(subject, component)?);
        base.push('\n');
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(&signature_params(components, parameters)?);
    Ok(base)
}

fn value(subject: &Subject<'_>, component: &Component) -> Result<String, BaseError> {
    match (subject, component.of_request) {
        (Subject::Request(request), false) | (Subject::Response { request, .. }, true) => {
            request_value(request, &component.name)
        }
        (Subject::Response { status, .. }, false) if component.name == "@status" => Ok(status.to_string()),
        (Subject::Response { headers, .. }, false) => header_value(headers, &component.name),
        (Subject::Request(_), true) => Err(BaseError::Unknown(component.name.clone())),
    }
}

fn request_value(request: &RequestView<'_>, name: &str) -> Result<String, BaseError> {
    match name {
        "@method" => Ok(request.method.to_owned()),
        "@authority" => Ok(request.authority.to_ascii_lowercase()),
        "@path" => Ok(request.path.to_owned()),
        "@query" => Ok(format!("?{}", request.query.unwrap_or_default())),
        _ => header_value(request.headers, name),
    }
}

/// A header field's value as section 2.1 combines it: trimmed lines, joined by `, `.
fn header_value(headers: &HeaderMap, name: &str) -> Result<String, BaseError> {
    let unknown = || BaseError::Unknown(name.to_owned());
    let canonical = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unknown())?;
    if canonical.as_str() != name {
        return Err(unknown());
    }
    let lines = headers
        .get_all(canonical)
        .iter()
        .map(|line| line.to_str().map(str::trim).map_err(|_| unknown()))
        .collect::<Result<Vec<_>, _>>()?;
    if lines.is_empty() {
        return Err(BaseError::Missing(name.to_owned()));
    }
    Ok(lines.join(", "))
}
