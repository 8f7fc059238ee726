//! The addresses that are not globally reachable, by IANA's special-purpose registries (RFC 6890).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Where the first `length` bits are those of the address, the block is this one.
struct Block<A> {
    start: A,
    length: u32,
    name: &'static str,
}

const fn v4(start: [u8; 4], length: u32, name: &'static str) -> Block<Ipv4Addr> {
    let [a, b, c, d] = start;
    Block {
        start: Ipv4Addr::new(a, b, c, d),
        length,
        name,
    }
}

const fn v6(start: [u16; 4], length: u32, name: &'static str) -> Block<Ipv6Addr> {
    let [a, b, c, d] = start;
    Block {
        start: Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0),
        length,
        name,
    }
}

const V4: [Block<Ipv4Addr>; 15] = [
    v4([0, 0, 0, 0], 8, "unspecified, \"this network\""),
    v4([10, 0, 0, 0], 8, "private"),
    v4([100, 64, 0, 0], 10, "shared by a carrier's NAT"),
    v4([127, 0, 0, 0], 8, "loopback"),
    v4([169, 254, 0, 0], 16, "link-local"),
    v4([172, 16, 0, 0], 12, "private"),
    v4([192, 0, 0, 0], 24, "for protocol assignments"),
    v4([192, 0, 2, 0], 24, "for documentation"),
    v4([192, 88, 99, 0], 24, "a 6to4 relay"),
    v4([192, 168, 0, 0], 16, "private"),
    v4([198, 18, 0, 0], 15, "for benchmarking"),
    v4([198, 51, 100, 0], 24, "for documentation"),
    v4([203, 0, 113, 0], 24, "for documentation"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([240, 0, 0, 0], 4, "reserved or broadcast"),
];

/// The specific ones first: the first that fits gives the name.
const V6: [Block<Ipv6Addr>; 19] = [
    Block {
        start: Ipv6Addr::UNSPECIFIED,
        length: 128,
        name: "unspecified",
    },
    Block {
        start: Ipv6Addr::LOCALHOST,
        length: 128,
        name: "loopback",
    },
    Block {
        start: Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0),
        length: 96,
        name: "an IPv4 address in IPv6",
    },
    v6([0, 0, 0, 0], 96, "an IPv4 address in IPv6"),
    v6([0x64, 0xff9b, 0, 0], 96, "an IPv4 address behind NAT64"),
    v6([0x64, 0xff9b, 1, 0], 48, "an IPv4 address behind NAT64"),
    v6([0x100, 0, 0, 0], 64, "for discarding"),
    v6([0x2001, 0, 0, 0], 32, "an IPv4 address behind Teredo"),
    v6([0x2001, 2, 0, 0], 48, "for benchmarking"),
    v6([0x2001, 0xdb8, 0, 0], 32, "for documentation"),
    v6([0x2001, 0x10, 0, 0], 28, "no address but an ORCHID"),
    v6([0x2001, 0x20, 0, 0], 28, "no address but an ORCHID"),
    v6([0x2001, 0, 0, 0], 23, "for protocol assignments"),
    v6([0x2002, 0, 0, 0], 16, "an IPv4 address behind 6to4"),
    v6([0x3fff, 0, 0, 0], 20, "for documentation"),
    v6([0xfc00, 0, 0, 0], 7, "private (unique local)"),
    v6([0xfe80, 0, 0, 0], 10, "link-local"),
    v6([0xfec0, 0, 0, 0], 10, "private (site-local)"),
    v6([0xff00, 0, 0, 0], 8, "multicast"),
];

/// Why the address is not globally reachable, where it is not.
pub(super) fn unreachable_v4(address: Ipv4Addr) -> Option<&'static str> {
    let differs = |block: &Block<Ipv4Addr>| (address.to_bits() ^ block.start.to_bits()) >> (32 - block.length) != 0;
    V4.iter().find(|block| !differs(block)).map(|block| block.name)
}

/// Why the address is not globally reachable, where it is not.
pub(super) fn unreachable_v6(address: Ipv6Addr) -> Option<&'static str> {
    let differs = |block: &Block<Ipv6Addr>| (address.to_bits() ^ block.start.to_bits()) >> (128 - block.length) != 0;
    let named = V6.iter().find(|block| !differs(block)).map(|block| block.name);
    // Of what has no name above, 2000::/3 alone is given out as global unicast.
    let global = address.segments()[0] >> 13 == 1;
    named.or_else(|| (!global).then_some("reserved"))
}
