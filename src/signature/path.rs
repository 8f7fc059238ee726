//! Canonical paths: as many spellings of a path as a URL library may rewrite into each other are refused, so that what was
//! signed is what is routed. (`:` and `%3A` stay two different paths, as RFC 3986 has it for reserved characters.)

/// Whether the path is in the form that RFC 3986 section 6.2.2 normalises to: no empty and no dot segments, nothing
/// percent-encoded that need not be, and hexadecimal digits in upper case.
#[must_use]
pub fn is_canonical(path: &str) -> bool {
    if path == "/" {
        return true;
    }
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(is_canonical_segment))
}

fn is_canonical_segment(segment: &str) -> bool {
    if segment.is_empty() || segment == "." || segment == ".." {
        return false;
    }
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let fine = if byte == b'%' {
            match (bytes.next().and_then(upper_hex), bytes.next().and_then(upper_hex)) {
                (Some(high), Some(low)) => !is_unreserved(high << 4 | low),
                _ => false,
            }
        } else {
            is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte)
        };
        if !fine {
            return false;
        }
    }
    true
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn upper_hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let check = |path: &str, expected: bool| assert_eq!(is_canonical(path), expected, "{path}");
        check("/", true);
        check("/agents/triage/steps", true);
        check("/runs/a%2Fb/state", true);
        check("/runs/%C3%A4/state", true);
        check("/.well-known/baton.json", true);
        check("", false);
        check("agents", false);
        check("//agents", false);
        check("/agents/", false);
        check("/agents/./x", false);
        check("/agents/../x", false);
        check("/runs/a%2fb", false);
        check("/agents/tri%61ge", false);
        check("/agents/%2E%2E/x", false);
        check("/runs/a%2", false);
        check("/runs/a%", false);
        check("/runs/a b", false);
        check("/runs/ä", false);
    }
}
