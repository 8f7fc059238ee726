//! The operator's page: files in the Worker, served as they are.

use http::HeaderMap;
use http::HeaderName;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

use super::reply::{Reply, has};
use super::{Acted, Admitted};
use crate::problem::Problem;
use crate::routes::Action;
use crate::signature::digest::hex_digest;

/// The page loads scripts and styles of its own origin, in files, and calls nobody but the gateway. It is shown in no
/// frame, and no text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A file of the page.
struct Asset {
    name: &'static str,
    content: &'static str,
}

macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        /// Every file of the page.
        const ASSETS: &[Asset] = &[
            $(Asset { name: $name, content: include_str!(concat!("../page/", $name)) }),*
        ];
    };
}

assets![
    "index.html",
    "page.css",
    "icon.svg",
    "main.js",
    "api.js",
    "sign.js",
    "dom.js",
    "format.js",
    "form.js",
    "fields.js",
    "chart.js",
    "paged.js",
    "timeline.js",
    "view-sign-in.js",
    "view-overview.js",
    "view-agents.js",
    "view-agent.js",
    "view-executions.js",
    "view-run.js",
    "view-deliveries.js",
    "view-keys.js",
];

impl Asset {
    fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }
}

/// Answers with the file that is asked for.
pub(super) fn answer(admitted: &Admitted, request: &HeaderMap) -> Result<Acted, Problem> {
    let name = match admitted.route.action {
        Action::Page => "index.html",
        _ => admitted.parameters.get("file"),
    };
    file(name, request).map(Acted::Reply)
}

fn file(name: &str, request: &HeaderMap) -> Result<Reply, Problem> {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.name == name)
        .ok_or(Problem::NotFound)?;
    let etag = format!("\"{}\"", hex_digest(asset.content.as_bytes()));
    let reply = if has(request, &etag) {
        Reply::not_modified(&etag)
    } else {
        Reply::file(asset.content_type(), asset.content).with(ETAG, &etag)
    };
    Ok(reply
        // After a deployment the files must fit together: each is asked for again, and mostly not sent.
        .with(CACHE_CONTROL, "no-cache")
        .with(CONTENT_SECURITY_POLICY, POLICY)
        .with(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with(X_FRAME_OPTIONS, "DENY")
        .with(REFERRER_POLICY, "no-referrer")
        .with(OPENER_POLICY, "same-origin")
        .with(RESOURCE_POLICY, "same-origin"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{CONTENT_TYPE, IF_NONE_MATCH};

    use super::*;

    /// All files together, in bytes.
    const PAGE_MAX_BYTES: usize = 150_000;

    fn answered(name: &str, etag: Option<&HeaderValue>) -> http::Response<Vec<u8>> {
        let mut headers = HeaderMap::new();
        if let Some(etag) = etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        file(name, &headers).expect("a file").into_response("r")
    }

    #[test]
    fn the_page_is_small() {
        let bytes: usize = ASSETS.iter().map(|asset| asset.content.len()).sum();
        assert!(bytes <= PAGE_MAX_BYTES, "{bytes} bytes");
    }

    #[test]
    fn every_file_is_guarded_and_known_by_its_content() {
        for asset in ASSETS {
            let response = answered(asset.name, None);
            let field = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
            assert_eq!(response.status(), 200, "{}", asset.name);
            assert_eq!(field("x-content-type-options"), "nosniff");
            assert_eq!(field("x-frame-options"), "DENY");
            assert_eq!(field("referrer-policy"), "no-referrer");
            assert_eq!(field("cross-origin-opener-policy"), "same-origin");
            assert_eq!(field("cross-origin-resource-policy"), "same-origin");
            assert_eq!(field("cache-control"), "no-cache");
            let policy = field("content-security-policy");
            for directive in [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
            ] {
                assert!(policy.split("; ").any(|own| own == directive), "{directive}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            let again = answered(asset.name, Some(&response.headers()[ETAG]));
            assert_eq!(
                (again.status().as_u16(), again.body().len()),
                (304, 0),
                "{}",
                asset.name
            );
        }
        let etags: std::collections::HashSet<_> = ASSETS
            .iter()
            .map(|asset| answered(asset.name, None).headers()[ETAG].clone())
            .collect();
        assert_eq!(etags.len(), ASSETS.len());
    }

    #[test]
    fn content_types() {
        let check = |name: &str, expected: &str| {
            assert_eq!(answered(name, None).headers()[CONTENT_TYPE], expected, "{name}");
        };
        check("index.html", "text/html; charset=utf-8");
        check("page.css", "text/css; charset=utf-8");
        check("main.js", "text/javascript; charset=utf-8");
        check("icon.svg", "image/svg+xml");
        assert_eq!(file("../lib.rs", &HeaderMap::new()).err(), Some(Problem::NotFound));
        assert_eq!(file("", &HeaderMap::new()).err(), Some(Problem::NotFound));
    }

    #[test]
    fn nothing_in_the_page_needs_an_exception_from_its_policy() {
        for asset in ASSETS {
            for inline in [
                "style=",
                " onclick=",
                "<style",
                "innerHTML",
                "eval(",
                "http://",
                "https://",
            ] {
                // The one address that an SVG needs is a name, and is fetched by nobody.
                let content = asset.content.replace("http://www.w3.org/2000/svg", "");
                assert!(!content.contains(inline), "{}: {inline}", asset.name);
            }
        }
    }
}
