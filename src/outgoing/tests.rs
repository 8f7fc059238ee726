//! Each form that is refused in a row of its own, and each that is allowed.

use proptest::prelude::*;

use super::*;

const ORIGIN: &str = "https://hooks.example.com";

macro_rules! refused {
    ($($name:ident: [$($url:expr),* $(,)?] => $part:expr;)*) => {
        $(
            #[test]
            fn $name() {
                for url in [$($url),*] {
                    let refusal = check_url(url, Rules { development: false, origins: &[] }).expect_err(url);
                    assert!(refusal.to_string().contains($part), "{url}: {refusal}");
                }
            }
        )*
    };
}

refused! {
    // The form.
    not_absolute: ["", "/", "hooks.example.com", "//hooks.example.com/", "https:/hooks.example.com", "https:hooks.example.com",
        "mailto:a", "javascript:alert(1)", "data:,x"] => "is not absolute";
    another_scheme: ["ftp://hooks.example.com/", "ws://hooks.example.com/", "file:///etc/passwd", "://hooks.example.com",
        "git+https://hooks.example.com/", "blob:https://hooks.example.com/"] => "neither https nor http";
    http_outside_of_development: ["http://hooks.example.com/", "HTTP://hooks.example.com/"] => "write https";
    user: ["https://u@hooks.example.com/", "https://u:p@hooks.example.com/", "https://@hooks.example.com/",
        "https://hooks.example.com@evil.example.net/", "https://hooks.example.com:443@evil.example.net/",
        "https://a@b@hooks.example.com/"] => "a user or a password";
    fragment: ["https://hooks.example.com/#a", "https://hooks.example.com#", "https://hooks.example.com#@evil.example.net/"]
        => "has a fragment";
    line_break: ["https://hooks.example.com/\n", "https://hooks.exam\nple.com/", "\rhttps://hooks.example.com/"]
        => "has the character";
    tab: ["https://hooks\t.example.com/"] => "has the character '\\t'";
    space: [" https://hooks.example.com/", "https://hooks.example.com/a b"] => "has the character ' '";
    nul: ["https://hooks.example.com\0.evil.example.net/"] => "has the character '\\0'";
    delete: ["https://hooks.example.com/\u{7f}"] => "has the character '\\u{7f}'";
    backslash: ["https:\\\\hooks.example.com/", "https://evil.example.net\\@hooks.example.com/"] => "has the character '\\\\'";
    quote: ["https://hooks.example.com/\""] => "has the character '\"'";
    not_ascii: ["https://höoks.example.com/", "https://hooks.example.com/ä"] => "percent-encode others";
    wide_digits: ["https://１２７.0.0.1/", "https://①②⑦.0.0.1/"] => "has the character";
    ideographic_full_stop: ["https://127。0。0。1/", "https://hooks。example。com/"] => "has the character";
    bracket_in_the_path: ["https://hooks.example.com/[a]", "https://hooks.example.com/?a[]=1"] => "has the character '['";
    port: ["https://hooks.example.com:/", "https://hooks.example.com:0/", "https://hooks.example.com:65536/",
        "https://hooks.example.com:0443/", "https://hooks.example.com:+443/", "https://hooks.example.com:a/",
        "https://hooks.example.com:-1/", "https://[2606:4700::1111]:/"] => "the URL's port";
    two_ports: ["https://hooks.example.com:1:2/"] => "is no IP address";

    // Names.
    no_host: ["https://", "https:///a", "https://?a", "https://:443/"] => "is no host name";
    name_with_a_final_dot: ["https://hooks.example.com./", "https://hooks.example.com.:443/", "https://localhost./"]
        => "is no host name";
    name_with_an_empty_label: ["https://hooks..example.com/", "https://.example.com/"] => "is no host name";
    name_with_other_characters: ["https://hooks_a.example.com/", "https://%68ooks.example.com/", "https://hooks%2eexample.com/",
        "https://*.example.com/", "https://hooks.example.com%00.evil.example.net/", "https://a,b.example.com/"]
        => "is no host name";
    name_with_an_outer_hyphen: ["https://-a.example.com/", "https://a-.example.com/", "https://xn--localhost-/"]
        => "is no host name";
    single_label: ["https://orchestrator/", "https://intranet:8443/", "https://metadata/"] => "single label";
    localhost_outside_of_development: ["https://localhost/", "https://LOCALHOST/"] => "single label";
    name_of_localhost: ["https://a.localhost/", "https://a.LocalHost/"] => "ends in .localhost";
    name_of_localdomain: ["https://localhost.localdomain/"] => "ends in .localdomain";
    name_of_local: ["https://printer.local/"] => "ends in .local,";
    name_of_internal: ["https://metadata.google.internal/"] => "ends in .internal";
    name_of_a_home: ["https://router.home.arpa/", "https://home.arpa/"] => "ends in .arpa";
    name_of_a_reverse_zone: ["https://1.0.0.127.in-addr.arpa/"] => "ends in .arpa";
    name_of_a_lan: ["https://nas.lan/"] => "ends in .lan";
    name_of_onion: ["https://expyuzz4wqqyqhjn.onion/"] => "ends in .onion";
    name_of_test: ["https://hooks.test/"] => "ends in .test";
    name_of_invalid: ["https://hooks.invalid/"] => "ends in .invalid";
    name_of_example: ["https://hooks.example/"] => "ends in .example";
    name_of_alt: ["https://hooks.alt/"] => "ends in .alt";
    name_of_corp: ["https://hooks.corp/"] => "ends in .corp";
    name_of_home: ["https://hooks.home/"] => "ends in .home";
    name_of_intranet: ["https://hooks.intranet/"] => "ends in .intranet";
    name_of_mail: ["https://hooks.mail/"] => "ends in .mail";
    name_of_private: ["https://hooks.private/"] => "ends in .private";

    // IPv4 addresses in other spellings.
    address_as_one_number: ["https://2130706433/"] => "is no IP address";
    address_in_hexadecimal: ["https://0x7f000001/", "https://0X7F.0.0.1/", "https://127.0.0.0x1/", "https://a.0xff/"]
        => "is no IP address";
    address_of_no_hexadecimal_digits: ["https://127.0.0.0x/", "https://0x/"] => "is no IP address";
    address_in_octal: ["https://017700000001/", "https://0177.0.0.1/", "https://127.0.0.01/"] => "is no IP address";
    address_of_fewer_parts: ["https://127.1/", "https://127.0.1/", "https://0/"] => "is no IP address";
    address_of_more_parts: ["https://127.0.0.1.1/", "https://8.8.8.8.8/"] => "is no IP address";
    address_out_of_range: ["https://256.0.0.1/", "https://8.8.8.999/", "https://4294967296/"] => "is no IP address";
    address_with_a_final_dot: ["https://127.0.0.1./", "https://8.8.8.8./", "https://0x7f.1./"] => "is no IP address";
    name_that_ends_in_a_number: ["https://hooks.example.1/", "https://hooks.08/", "https://hooks.09/"] => "is no IP address";

    // IPv4 addresses that are not globally reachable.
    v4_unspecified: ["https://0.0.0.0/", "https://0.255.255.255/"] => "unspecified";
    v4_private: ["https://10.0.0.0/", "https://10.255.255.255/", "https://172.16.0.0/", "https://172.31.255.255/",
        "https://192.168.0.0/", "https://192.168.255.255/"] => "is private";
    v4_carrier: ["https://100.64.0.0/", "https://100.127.255.255/"] => "a carrier's NAT";
    v4_loopback: ["https://127.0.0.0/", "https://127.0.0.1/", "https://127.255.255.255/"] => "loopback";
    v4_link_local: ["https://169.254.0.0/", "https://169.254.169.254/", "https://169.254.255.255/"] => "link-local";
    v4_protocol: ["https://192.0.0.0/", "https://192.0.0.170/", "https://192.0.0.255/"] => "protocol assignments";
    v4_documentation: ["https://192.0.2.0/", "https://192.0.2.255/", "https://198.51.100.0/", "https://198.51.100.255/",
        "https://203.0.113.0/", "https://203.0.113.255/"] => "documentation";
    v4_relay: ["https://192.88.99.0/", "https://192.88.99.255/"] => "a 6to4 relay";
    v4_benchmarking: ["https://198.18.0.0/", "https://198.19.255.255/"] => "benchmarking";
    v4_multicast: ["https://224.0.0.0/", "https://239.255.255.255/"] => "multicast";
    v4_reserved: ["https://240.0.0.0/", "https://255.255.255.255/"] => "reserved or broadcast";

    // IPv6.
    v6_form: ["https://[]/", "https://[::1/", "https://::1/", "https://[::1]a/", "https://[1:2]/", "https://[fe80::1%25eth0]/",
        "https://[v1.a]/", "https://[127.0.0.1]/", "https://a[::1]/", "https://[::1]]/", "https://2606:4700::1111/",
        "https://[2606:4700::1111].example.com/"] => "is no IP address";
    v6_unspecified: ["https://[::]/", "https://[0:0:0:0:0:0:0:0]/"] => "unspecified";
    v6_loopback: ["https://[::1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[::0.0.0.1]/"] => "loopback";
    v6_mapped: ["https://[::ffff:127.0.0.1]/", "https://[::ffff:8.8.8.8]/", "https://[::FFFF:7f00:1]/"] => "IPv4 address in IPv6";
    v6_compatible: ["https://[::127.0.0.1]/", "https://[::2]/", "https://[::ffff:ffff]/"] => "IPv4 address in IPv6";
    v6_translated: ["https://[::ffff:0:127.0.0.1]/"] => "reserved";
    v6_nat64: ["https://[64:ff9b::]/", "https://[64:ff9b::127.0.0.1]/", "https://[64:ff9b:1::]/",
        "https://[64:ff9b:1:ffff::a00:1]/"] => "NAT64";
    v6_discard: ["https://[100::]/", "https://[100::ffff:ffff:ffff:ffff]/"] => "for discarding";
    v6_teredo: ["https://[2001::]/", "https://[2001:0:ffff::1]/"] => "Teredo";
    v6_benchmarking: ["https://[2001:2::]/", "https://[2001:2:0:ffff::]/"] => "benchmarking";
    v6_orchid: ["https://[2001:10::]/", "https://[2001:1f:ffff::]/", "https://[2001:20::]/", "https://[2001:2f:ffff::]/"]
        => "ORCHID";
    v6_protocol: ["https://[2001:1::1]/", "https://[2001:30::]/", "https://[2001:1ff:ffff::]/"] => "protocol assignments";
    v6_documentation: ["https://[2001:db8::]/", "https://[2001:db8:ffff::1]/", "https://[3fff::]/", "https://[3fff:fff::1]/"]
        => "documentation";
    v6_6to4: ["https://[2002::]/", "https://[2002:7f00:1::]/"] => "6to4";
    v6_unique_local: ["https://[fc00::]/", "https://[fdff:ffff::1]/", "https://[fd00:ec2::254]/"] => "unique local";
    v6_link_local: ["https://[fe80::]/", "https://[febf:ffff::1]/"] => "link-local";
    v6_site_local: ["https://[fec0::]/", "https://[feff:ffff::1]/"] => "site-local";
    v6_multicast: ["https://[ff00::]/", "https://[ff02::1]/", "https://[ffff::1]/"] => "multicast";
    v6_reserved: ["https://[1fff:ffff::]/", "https://[4000::]/", "https://[5f00::1]/", "https://[200::1]/"] => "reserved";

    // The origin.
    no_origin_is_allowed: ["https://hooks.example.com/", "https://8.8.8.8/"] => "is not allowed, and none is";
}

#[test]
fn the_origin_must_be_an_allowed_one() {
    let origins = [ORIGIN.to_owned(), "https://b.example.com:8443".to_owned()];
    let rules = Rules {
        development: false,
        origins: &origins,
    };
    let check = |url: &str, expected: Option<&str>| {
        let found = check_url(url, rules);
        assert_eq!(
            found.as_ref().ok().map(|target| target.url.as_str()),
            expected,
            "{found:?}"
        );
        if let Ok(target) = found {
            assert!(origins.contains(&target.origin) && target.url.starts_with(&target.origin));
        }
    };
    check("https://hooks.example.com", Some("https://hooks.example.com/"));
    check("https://hooks.example.com?a=b", Some("https://hooks.example.com/?a=b"));
    check(
        "HTTPS://Hooks.Example.COM:443/A/../b?c=D%2f&e=@:/?",
        Some("https://hooks.example.com/A/../b?c=D%2f&e=@:/?"),
    );
    check("https://b.example.com:8443/a", Some("https://b.example.com:8443/a"));
    // Another port, another scheme, a name below, above or beside it.
    check("https://hooks.example.com:8443/", None);
    check("https://b.example.com/", None);
    check("http://hooks.example.com/", None);
    check("https://a.hooks.example.com/", None);
    check("https://example.com/", None);
    check("https://hooks.example.com.evil.example.net/", None);
    check("https://evil.example.net/https://hooks.example.com/", None);
    check("https://evil.example.net?https://hooks.example.com/", None);
}

#[test]
fn a_refusal_names_what_is_allowed_and_no_path() {
    let origins = [ORIGIN.to_owned()];
    let rules = Rules {
        development: false,
        origins: &origins,
    };
    let refusal = check_url("https://other.example.com/secret?token=secret", rules).expect_err("refused");
    let text = refusal.to_string();
    assert!(
        text.contains("https://other.example.com is not allowed, only https://hooks.example.com"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}

/// A host that the guard refuses is refused even where an operator's list has it.
#[test]
fn an_allowed_origin_opens_no_private_host() {
    for origin in [
        "https://10.0.0.1",
        "https://localhost",
        "https://a.internal",
        "http://hooks.example.com",
    ] {
        let origins = [origin.to_owned()];
        let rules = Rules {
            development: false,
            origins: &origins,
        };
        assert!(check_url(&format!("{origin}/"), rules).is_err(), "{origin}");
    }
}

#[test]
fn the_length_at_the_edge() {
    let origins = [ORIGIN.to_owned()];
    let rules = Rules {
        development: false,
        origins: &origins,
    };
    let url = |length: usize| format!("{ORIGIN}/{}", "a".repeat(length - ORIGIN.len() - 1));
    assert!(check_url(&url(CALLBACK_URL_MAX_BYTES), rules).is_ok());
    let longer = url(CALLBACK_URL_MAX_BYTES + 1);
    assert_eq!(
        check_url(&longer, rules),
        Err(Refusal::TooLong(CALLBACK_URL_MAX_BYTES + 1))
    );
}

#[test]
fn names_at_the_edge() {
    let check =
        |name: &str, fits: bool| assert_eq!(check_origin(&format!("https://{name}"), false).is_ok(), fits, "{name}");
    let label = "a".repeat(63);
    check(&format!("{label}.com"), true);
    check(&format!("a{label}.com"), false);
    let name = [label.as_str(); 3].join(".");
    check(&format!("{name}.{}.com", "a".repeat(57)), true);
    check(&format!("{name}.{}.com", "a".repeat(58)), false);
    for name in [
        "example.com",
        "xn--hks-sna.example.com",
        "a-b.c1.io",
        "1.example.com",
        "0x1.example.com",
        "a.0xg",
        "local.com",
    ] {
        check(name, true);
    }
}

/// The neighbours of the refused blocks, so that no mask is too wide.
#[test]
fn addresses_that_are_reachable() {
    for address in [
        "1.0.0.0",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.3.0",
        "192.88.98.255",
        "192.88.100.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "[2000::1]",
        "[2001:200::]",
        "[2001:db7:ffff::]",
        "[2001:db9::]",
        "[2001:ffff::]",
        "[2003::]",
        "[2606:4700:4700::1111]",
        "[3ffe:ffff::]",
        "[3fff:1000::]",
    ] {
        assert_eq!(
            check_origin(&format!("https://{address}"), false),
            Ok(format!("https://{address}"))
        );
    }
    let spelled = check_origin("https://[2606:4700:0:0:0:0:0:00AB]", false);
    assert_eq!(spelled.as_deref(), Ok("https://[2606:4700::ab]"));
}

#[test]
fn development_allows_http_and_loopback_and_no_more() {
    for (url, expected) in [
        ("http://localhost:8788", "http://localhost:8788"),
        ("http://LOCALHOST:80/", "http://localhost"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("https://127.255.255.254", "https://127.255.255.254"),
        ("http://[::1]:8788", "http://[::1]:8788"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
        ("http://hooks.example.com:443", "http://hooks.example.com:443"),
    ] {
        assert_eq!(check_origin(url, true).as_deref(), Ok(expected), "{url}");
        assert!(check_origin(url, false).is_err(), "{url}");
    }
    for url in [
        "http://10.0.0.1",
        "http://192.168.0.1",
        "http://169.254.169.254",
        "http://0.0.0.0",
        "http://[::]",
        "http://[::ffff:127.0.0.1]",
        "http://[::127.0.0.1]",
        "http://[fd00::1]",
        "http://127.1",
        "http://0x7f000001",
        "http://a.localhost",
        "http://localhost.",
        "http://orchestrator",
        "http://metadata.internal",
        "http://u@localhost",
        "ftp://localhost",
    ] {
        assert!(check_origin(url, true).is_err(), "{url}");
    }
}

#[test]
fn origins() {
    let check = |text: &str, expected: Result<&str, &str>| match (check_origin(text, false), expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
        (Err(found), Err(part)) => assert!(found.to_string().contains(part), "{text}: {found}"),
        (found, _) => panic!("{text}: {found:?}"),
    };
    check(ORIGIN, Ok(ORIGIN));
    check("HTTPS://Hooks.example.com:443/", Ok(ORIGIN));
    check("https://hooks.example.com/a", Err("is no origin"));
    check("https://hooks.example.com?", Err("is no origin"));
    check("https://hooks.example.com#", Err("fragment"));
    check("https://*.example.com", Err("is no host name"));
    check("*", Err("not absolute"));
    check("null", Err("not absolute"));
}

proptest! {
    /// Another parser reads the same host and port out of what is fetched, whatever was asked for.
    #[test]
    fn what_is_fetched_goes_where_was_checked(url in "(https?|HTTPS)://[a-c0-9.:@/?#%\\[\\]x-]{0,24}|.{0,40}") {
        let rules = |origins| Rules { development: true, origins };
        if let Err(Refusal::OriginNotAllowed { origin, .. }) = check_url(&url, rules(&[])) {
            let target = check_url(&url, rules(std::slice::from_ref(&origin))).expect("its origin is allowed");
            let uri: http::Uri = target.url.parse().expect("a URI");
            let read = format!("{}://{}", uri.scheme_str().unwrap_or(""), uri.authority().expect("an authority"));
            prop_assert_eq!(&read, &origin);
            prop_assert_eq!(target.origin, origin);
        }
    }
}
