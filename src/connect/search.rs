//! Which of several servers is connected to, and what is said where none will do.

use std::error::Error as _;
use std::iter;
use std::sync::Arc;

use super::socket::Address;
use super::{Connection, connect_address, limited};
use crate::config::{ConnectParams, Endpoint, TargetSessionAttrs};
use crate::error::{Error, ErrorKind, Phase, Result};

/// Opens a connection to the first of a host's addresses that will do; a server that refuses the login ends the
/// search.
pub(super) async fn connect_first(
    params: &Arc<ConnectParams>,
    endpoint: &Endpoint,
    addresses: &[Address],
    attrs: TargetSessionAttrs,
    avoided: &[Address],
) -> Result<Connection> {
    let mut failures = Vec::new();
    for address in addresses {
        let error = match avoided.contains(address) {
            true => Error::new(ErrorKind::Connect, "the server was lost a moment ago")
                .with_phase(Phase::Connect),
            false => {
                let connecting = connect_address(params, endpoint, address.clone(), attrs);
                match limited(params, Phase::Connect, Box::pin(connecting)).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) if error.phase() == Some(Phase::Auth) => return Err(error),
                    Err(error) => error,
                }
            }
        };
        failures.push(match addresses {
            // The name of the host says where that is.
            [_] => error,
            _ => error.with_context(&address.to_string()),
        });
    }
    // What a server says tells more than that another address leads nowhere.
    if let Some(said) = failures.iter().position(|it| !is_out_of_reach(it)) {
        failures.swap(0, said);
    }
    Err(all_of(failures).unwrap_or_else(|| {
        Error::new(ErrorKind::Connect, "the host has no address").with_phase(Phase::Resolve)
    }))
}

fn is_out_of_reach(error: &Error) -> bool {
    (error.kind(), error.phase()) == (ErrorKind::Connect, Some(Phase::Connect))
        && error.sql_state().is_none()
}

/// The first is the error; the others, each once and with their causes, stand behind its message. `None` of none.
pub(super) fn all_of(failures: Vec<Error>) -> Option<Error> {
    let mut told: Vec<String> = Vec::new();
    for failure in &failures {
        let text = with_causes(failure);
        if !told.contains(&text) {
            told.push(text);
        }
    }
    let first = failures.into_iter().next()?;
    Some(match told.get(1..) {
        None | Some([]) => first,
        Some(others) => first.with_more(&others.join("; ")),
    })
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    for cause in iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    use super::*;
    use crate::config::{ConnectionString, Environment};

    fn address(port: u16) -> Address {
        Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// Ports on which nobody listens.
    const DEAD: [u16; 2] = [1, 2];

    /// Connects to a host whose name has these addresses.
    async fn connected(addresses: &[Address], url: &str) -> Result<Address> {
        let params = ConnectionString::new(url).resolve(&Environment::default())?;
        let (params, any) = (Arc::new(params), TargetSessionAttrs::Any);
        let endpoint = &params.endpoints[0];
        let connection = connect_first(&params, endpoint, addresses, any, &[]).await?;
        Ok(connection.address().clone())
    }

    #[tokio::test]
    async fn a_host_is_reached_by_any_of_its_addresses() {
        let Some(server) = merganser_local::fixture::server() else {
            return;
        };
        let [dead, other] = DEAD.map(address);
        let alive = address(server.port());
        let url = server.url("postgres");
        for addresses in [
            vec![alive.clone()],
            vec![dead.clone(), alive.clone()],
            vec![alive.clone(), dead.clone()],
            vec![dead.clone(), other.clone(), alive.clone()],
        ] {
            assert_eq!(connected(&addresses, &url).await.unwrap(), alive);
        }
        // A refused login is the last word.
        let url = server.url("no_such_database");
        let error = connected(&[dead, alive, other], &url).await.unwrap_err();
        assert_eq!(
            (error.phase(), error.sql_state()),
            (Some(Phase::Auth), Some("3D000"))
        );
        assert!(!error.message().contains("refused"), "{error}");
    }

    #[tokio::test]
    async fn where_no_address_will_do_each_has_its_reason() {
        let url = "postgresql://u@h/d?sslmode=disable&connect_timeout=20";
        let [one, two] = DEAD.map(address);
        let error = connected(&[one.clone(), two.clone()], url)
            .await
            .unwrap_err();
        let refused = "cannot connect: Connection refused";
        assert!(
            error
                .message()
                .starts_with(&format!("{one}: cannot connect; ")),
            "{error}"
        );
        assert!(
            error
                .message()
                .contains(&format!("connect: {two}: {refused}")),
            "{error}"
        );
        assert!(
            error
                .source()
                .unwrap()
                .to_string()
                .contains("Connection refused")
        );
        assert!(error.is_retryable());
        let error = connected(std::slice::from_ref(&one), url)
            .await
            .unwrap_err();
        assert_eq!(error.message(), "cannot connect");
        let error = connected(&[], url).await.unwrap_err();
        assert_eq!(error.phase(), Some(Phase::Resolve));

        // Something else listens at the second.
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut socket, _) = other.accept().unwrap();
            let _ = std::io::Write::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        let error = connected(&[one.clone(), address(port), two], url)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
        assert!(
            error.message().starts_with(&format!("127.0.0.1:{port}: ")),
            "{error}"
        );
        assert!(
            error
                .message()
                .contains(&format!("connect: {one}: {refused}")),
            "{error}"
        );
    }
}
