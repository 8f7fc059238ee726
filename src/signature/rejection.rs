//! Why a signature was refused. The class is told to the caller, and nothing more.

/// The class of a refusal. Every class has a stable code and a sentence that names no secret and no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// No signature at all.
    #[error("the request is not signed: send Signature-Input and Signature as Accept-Signature asks")]
    Missing,
    /// The fields do not parse, or do not fit each other.
    #[error("Signature-Input or Signature is not well-formed (RFC 9421 section 4), or the two name different labels")]
    Malformed,
    /// A field that must stand alone came twice.
    #[error("a header field that may occur only once was sent twice")]
    DuplicateHeader,
    /// A signature field over its size.
    #[error("Signature-Input or Signature is larger than 4096 bytes")]
    FieldTooLarge,
    /// More labels than allowed.
    #[error("more than 4 signature labels")]
    TooManyLabels,
    /// More covered components than allowed.
    #[error("a signature covers more than 16 components")]
    TooManyComponents,
    /// Two signatures with the profile's tag.
    #[error("more than one signature carries the profile's tag: send exactly one")]
    TwoSignatures,
    /// No signature with the profile's tag.
    #[error("no signature carries the tag that this call needs")]
    Tag,
    /// `alg` missing or another.
    #[error("the parameter alg must be \"hmac-sha256\"")]
    Algorithm,
    /// A parameter missing, unknown or of the wrong form.
    #[error(
        "the parameters must be created, expires, nonce (16 to 64 characters), keyid, alg and tag, each once, and no other"
    )]
    Parameters,
    /// `expires` has passed.
    #[error("the signature has expired: sign anew with the current time")]
    Expired,
    /// `created` lies in the future.
    #[error("the signature was created in the future: check the clock")]
    NotYetValid,
    /// Longer than the profile allows, or empty.
    #[error("expires must be later than created, by 300 seconds at most")]
    Window,
    /// A mandatory component is not covered.
    #[error(
        "the signature does not cover all components that Accept-Signature lists, Baton-Generation where it is sent, and If-Match or If-None-Match where a state is written"
    )]
    Coverage,
    /// Both schemes at once, or one that the key record does not allow.
    #[error("sign with exactly one scheme, the one that the key is configured for")]
    Scheme,
    /// Unknown key, or the MAC does not hold: deliberately the same.
    #[error("the signature does not hold under the key that it names")]
    Invalid,
    /// The key is not valid any more.
    #[error("the key has expired: use its successor")]
    KeyExpired,
    /// The key is not valid yet.
    #[error("the key is not valid yet")]
    KeyNotYetValid,
    /// The key is for another purpose or another agent.
    #[error("the key may not be used for this call")]
    KeyNotAllowed,
    /// The digest is missing or wrong.
    #[error("Content-Digest must hold exactly the sha-256 digest of the body as sent")]
    Digest,
    /// The nonce was used before.
    #[error("this signed request was received before: sign a retry anew, with a new nonce")]
    Replayed,
    /// The idempotency key is missing or not a structured string.
    #[error("Idempotency-Key must be a quoted string of 1 to 256 bytes, such as \"run_01/s1\"")]
    IdempotencyKey,
    /// The generation of a lease is none.
    #[error("Baton-Generation must be one whole number from 1 to 999999999999999")]
    Generation,
    /// The number of gateways that a call went through is none, or too large.
    #[error("Baton-Depth must be one whole number from 1 to 4: gateways that call each other in a circle end there")]
    Depth,
    /// Addressed to another origin.
    #[error("the request was addressed to an origin that this gateway does not serve")]
    Authority,
    /// The path is not in canonical form.
    #[error(
        "the path is not canonical: no empty or dot segments, and only needed characters percent-encoded, in upper case"
    )]
    Path,
    /// More header fields than allowed.
    #[error("more than 64 header fields")]
    TooManyHeaders,
    /// A content encoding.
    #[error("the body must be sent without a content encoding")]
    ContentEncoding,
}

impl Rejection {
    /// The stable code of the class.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "signature-missing",
            Self::Malformed => "signature-malformed",
            Self::DuplicateHeader => "header-duplicated",
            Self::FieldTooLarge => "signature-too-large",
            Self::TooManyLabels => "signature-labels",
            Self::TooManyComponents => "signature-components",
            Self::TwoSignatures => "signature-ambiguous",
            Self::Tag => "signature-tag",
            Self::Algorithm => "signature-algorithm",
            Self::Parameters => "signature-parameters",
            Self::Expired => "signature-expired",
            Self::NotYetValid => "signature-not-yet-valid",
            Self::Window => "signature-window",
            Self::Coverage => "signature-coverage",
            Self::Scheme => "signature-scheme",
            Self::Invalid => "signature-invalid",
            Self::KeyExpired => "key-expired",
            Self::KeyNotYetValid => "key-not-yet-valid",
            Self::KeyNotAllowed => "key-not-allowed",
            Self::Digest => "content-digest-invalid",
            Self::Replayed => "signature-replayed",
            Self::IdempotencyKey => "idempotency-key-invalid",
            Self::Generation => "generation-invalid",
            Self::Depth => "depth-invalid",
            Self::Authority => "authority-unknown",
            Self::Path => "path-not-canonical",
            Self::TooManyHeaders => "headers-too-many",
            Self::ContentEncoding => "content-encoding-unsupported",
        }
    }

    /// The HTTP status of the class.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::DuplicateHeader | Self::IdempotencyKey | Self::Generation | Self::Depth | Self::Path => 400,
            Self::KeyNotAllowed => 403,
            Self::ContentEncoding => 415,
            Self::Authority => 421,
            Self::TooManyHeaders | Self::FieldTooLarge => 431,
            _ => 401,
        }
    }
}
