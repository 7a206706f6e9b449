//! `inet`, `cidr`, `macaddr` and `macaddr8` as PostgreSQL prints them.
//!
//! ```text
//! family:u8  bits:u8  is_cidr:u8  length:u8  address
//! ```
//! Source: `network_send` in `src/backend/utils/adt/network.c`, `pg_inet_net_ntop` in
//! `src/port/inet_net_ntop.c`.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::fault::Fault;

/// PGSQL_AF_INET and PGSQL_AF_INET6 of `src/include/utils/inet.h`.
const FAMILY_INET: u8 = 2;
const FAMILY_INET6: u8 = 3;

/// The prefix length is left out where it is the whole address.
pub(crate) fn write_inet(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    let (bits, whole) = write_address(bytes, out)?;
    if bits != whole {
        // Writing to a String does not fail.
        let _ = write!(out, "/{bits}");
    }
    Ok(())
}

/// The prefix length is always there.
pub(crate) fn write_cidr(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    let (bits, _) = write_address(bytes, out)?;
    // Writing to a String does not fail.
    let _ = write!(out, "/{bits}");
    Ok(())
}

/// Writes the address; returns the prefix length and that of a whole address.
fn write_address(bytes: &[u8], out: &mut String) -> Result<(u8, u8), Fault> {
    let ([family, bits, _is_cidr, len], address) = bytes
        .split_first_chunk::<4>()
        .ok_or_else(Fault::truncated)?;
    let invalid = || Fault::bad("invalid length of a network address");
    if usize::from(*len) != address.len() {
        return Err(invalid());
    }
    let whole = match *family {
        FAMILY_INET => {
            let octets: [u8; 4] = address.try_into().map_err(|_| invalid())?;
            // Writing to a String does not fail.
            let _ = write!(out, "{}", Ipv4Addr::from(octets));
            32
        }
        FAMILY_INET6 => {
            let octets: [u8; 16] = address.try_into().map_err(|_| invalid())?;
            write_ipv6(octets, out);
            128
        }
        other => return Err(Fault::bad(format!("unknown address family {other}"))),
    };
    match *bits <= whole {
        true => Ok((*bits, whole)),
        false => Err(Fault::bad(format!("invalid prefix length {bits}"))),
    }
}

/// As Rust prints it, which follows RFC 5952 as PostgreSQL does, but for IPv4-compatible addresses
/// (`::1.2.3.4`), whose last four octets PostgreSQL prints in dotted form.
fn write_ipv6(octets: [u8; 16], out: &mut String) {
    let compatible = octets[..12] == [0; 12] && octets[12..14] != [0, 0];
    // Writing to a String does not fail.
    let _ = match (compatible, octets.last_chunk::<4>()) {
        (true, Some(v4)) => write!(out, "::{}", Ipv4Addr::from(*v4)),
        _ => write!(out, "{}", Ipv6Addr::from(octets)),
    };
}

/// Six or eight octets in hexadecimal, with colons.
pub(crate) fn write_macaddr(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    if !matches!(bytes.len(), 6 | 8) {
        return Err(Fault::bad(format!(
            "expected 6 or 8 bytes, found {}",
            bytes.len()
        )));
    }
    for (index, octet) in bytes.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a String does not fail.
        let _ = write!(out, "{colon}{octet:02x}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(family: u8, bits: u8, address: &[u8]) -> Result<String, String> {
        let mut bytes = vec![family, bits, 0, address.len() as u8];
        bytes.extend(address);
        let mut out = String::new();
        write_inet(&bytes, &mut out)
            .map(|()| out)
            .map_err(|fault| fault.message().to_owned())
    }

    #[test]
    fn addresses_are_printed_as_postgresql_does() {
        assert_eq!(inet(2, 32, &[10, 0, 0, 1]).unwrap(), "10.0.0.1");
        assert_eq!(inet(2, 8, &[10, 0, 0, 1]).unwrap(), "10.0.0.1/8");
        let mut v6 = [0; 16];
        v6[15] = 1;
        assert_eq!(inet(3, 128, &v6).unwrap(), "::1");
        v6[12..].copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(inet(3, 128, &v6).unwrap(), "::1.2.3.4");
        v6[10..12].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(inet(3, 96, &v6).unwrap(), "::ffff:1.2.3.4/96");
    }

    #[test]
    fn damage_is_an_error() {
        assert!(inet(9, 0, &[0; 4]).unwrap_err().contains("family 9"));
        assert!(inet(2, 33, &[0; 4]).unwrap_err().contains("prefix"));
        assert!(inet(2, 32, &[0; 5]).unwrap_err().contains("length"));
        assert!(write_macaddr(&[0; 7], &mut String::new()).is_err());
    }
}
