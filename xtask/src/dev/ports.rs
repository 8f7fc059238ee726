//! Are the ports free?

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Fails with one sentence when a port cannot be listened on. Each entry: whose it is, the option that changes it,
/// the port.
pub fn check(ports: &[(&str, &str, u16)]) -> Result<()> {
    for (index, (owner, option, port)) in ports.iter().enumerate() {
        if let Some((other, ..)) = ports[..index].iter().find(|(.., taken)| taken == port) {
            bail!("port {port} is for {other} and cannot be for {owner} too: choose another with `{option} PORT`");
        }
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)) {
            if error.kind() == ErrorKind::AddrInUse {
                bail!(
                    "port {port}, which is for {owner}, is taken by another program: stop that, \
                     or choose another port with `{option} PORT`"
                );
            }
            bail!("port {port}, which is for {owner}, cannot be used ({error}): choose another with `{option} PORT`");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_owner_and_the_option() -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let message = check(&[("the gateway", "--port", port)]).map_err(|error| error.to_string());
        let expected = format!(
            "port {port}, which is for the gateway, is taken by another program: stop that, \
             or choose another port with `--port PORT`"
        );
        assert_eq!(message, Err(expected));
        Ok(())
    }

    #[test]
    fn one_port_cannot_serve_two() {
        let message = check(&[("a", "--a", 0), ("b", "--b", 0)]).map_err(|error| error.to_string());
        let expected = "port 0 is for a and cannot be for b too: choose another with `--b PORT`";
        assert_eq!(message, Err(expected.to_owned()));
    }
}
