use super::*;
use crate::config::ConnectionString;
use crate::error::ErrorKind;

fn ann() -> Environment {
    Environment::default().with_user("ann")
}

fn resolve_in(text: &str, environment: &Environment) -> Result<ConnectParams> {
    ConnectionString::new(text).resolve(environment)
}

fn resolve(text: &str) -> ConnectParams {
    resolve_in(text, &ann()).unwrap()
}

fn message(text: &str) -> String {
    let error = resolve_in(text, &ann()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.message().to_owned()
}

fn endpoints_of(text: &str) -> String {
    let endpoints = resolve(text).endpoints;
    endpoints
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn defaults_are_libpqs() {
    let params = resolve("postgresql://");
    assert_eq!(endpoints_of("postgresql://"), "localhost:5432");
    assert_eq!((&*params.user, &*params.dbname), ("ann", "ann"));
    assert_eq!(params.password, None);
    assert_eq!(params.ssl_mode, SslMode::Prefer);
    assert_eq!(params.ssl_root_cert, None);
    assert_eq!(params.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(params.keepalives, Some(Keepalives::default()));
    assert_eq!(params.tcp_user_timeout, None);
    assert_eq!(params.target_session_attrs, TargetSessionAttrs::Any);
    assert_eq!(resolve("user=bob").dbname, "bob");

    let params = resolve_in("port=6432", &ann().with_socket_directory("/run/pg")).unwrap();
    assert_eq!(params.endpoints[0].to_string(), "/run/pg:6432");
    let error = resolve_in("postgresql://", &Environment::default()).unwrap_err();
    assert_eq!(
        error.message(),
        "no user name is given, and the operating system has none"
    );
}

#[test]
fn hosts_and_ports_are_paired() {
    for (text, expected) in [
        ("postgresql://a,b:2/d", "a:5432 b:2"),
        ("host=a,b port=7", "a:7 b:7"),
        ("host=a,,c port=1,,3", "a:1 localhost:5432 c:3"),
        ("postgresql://[::1]:5", "[::1]:5"),
        ("hostaddr=10.0.0.1,::1", "10.0.0.1:5432 [::1]:5432"),
        ("host=db0,db1 hostaddr=10.0.0.1,", "db0:5432 db1:5432"),
        ("host=/run/pg,db1", "/run/pg:5432 db1:5432"),
        ("postgresql:///d?host=/run/a@b", "/run/a@b:5432"),
    ] {
        assert_eq!(endpoints_of(text), expected, "{text}");
    }
    let host = |text| resolve(text).endpoints.remove(0).host;
    assert_eq!(
        host("host=db0 hostaddr=10.0.0.1"),
        Host::Tcp {
            name: "db0".into(),
            addr: Some("10.0.0.1".parse().unwrap())
        }
    );
    assert_eq!(
        host("host=db0"),
        Host::Tcp {
            name: "db0".into(),
            addr: None
        }
    );
    assert_eq!(host("host=/run/pg"), Host::Unix("/run/pg".into()));
}

#[test]
fn bad_hosts_and_ports_are_refused() {
    for (text, expected) in [
        ("host=a,b,c port=1,2", "3 hosts, but 2 values of port"),
        ("host=a,b hostaddr=::1", "2 hosts, but 1 values of hostaddr"),
        (
            "host=a hostaddr=b",
            "invalid hostaddr of host 1: expected an IP address",
        ),
        (
            "port=0",
            "invalid port of host 1: expected a number from 1 to 65535",
        ),
        (
            "postgresql://a,b:65536",
            "invalid port of host 2: expected a number from 1 to 65535",
        ),
        (
            "postgresql://u:p/q",
            "invalid port of host 1: expected a number from 1 to 65535",
        ),
        (
            "host=@abstract",
            "host 1 starts with \"@\", but abstract Unix sockets are not supported",
        ),
        (
            "host=db0:5432",
            "invalid host 1: expected a host name, an IP address or an absolute path",
        ),
        (
            "host='a b'",
            "invalid host 1: expected a host name, an IP address or an absolute path",
        ),
        (
            "host=a,b@c",
            "invalid host 2: expected a host name, an IP address or an absolute path",
        ),
    ] {
        assert_eq!(message(text), expected, "{text}");
    }
}

#[test]
fn the_string_comes_before_the_environment() {
    let environment = ann()
        .with_variable("PGHOST", "env")
        .with_variable("PGPORT", "1")
        .with_variable("PGDATABASE", "envdb")
        .with_variable("PGUSER", "envuser")
        .with_variable("PGPASSWORD", "envpw")
        .with_variable("PGSSLMODE", "require")
        .with_variable("PGAPPNAME", "envapp")
        .with_variable("PGOPTIONS", "-c geqo=off")
        .with_variable("PGCONNECT_TIMEOUT", "7")
        .with_variable("PGTARGETSESSIONATTRS", "standby");
    let params = resolve_in("postgresql://", &environment).unwrap();
    assert_eq!(params.endpoints[0].to_string(), "env:1");
    assert_eq!((&*params.user, &*params.dbname), ("envuser", "envdb"));
    assert_eq!(params.endpoints[0].password, Some("envpw".into()));
    assert_eq!(params.ssl_mode, SslMode::Require);
    assert_eq!(params.application_name.as_deref(), Some("envapp"));
    assert_eq!(params.options.as_deref(), Some("-c geqo=off"));
    assert_eq!(params.connect_timeout, Some(Duration::from_secs(7)));
    assert_eq!(params.target_session_attrs, TargetSessionAttrs::Standby);

    let params = resolve_in(
        "postgresql://u:p@h:2/d?sslmode=disable&fallback_application_name=f",
        &environment,
    )
    .unwrap();
    assert_eq!(params.endpoints[0].to_string(), "h:2");
    assert_eq!((&*params.user, &*params.dbname), ("u", "d"));
    assert_eq!(params.password, Some("p".into()));
    assert_eq!(params.ssl_mode, SslMode::Disable);
    assert_eq!(params.application_name.as_deref(), Some("envapp"));

    let mut url = ConnectionString::new("postgresql://");
    url.set_connect_timeout(Some(Duration::from_millis(1500)));
    let timeout = |url: &ConnectionString| url.resolve(&environment).unwrap().connect_timeout;
    assert_eq!(timeout(&url), Some(Duration::from_millis(1500)));
    let mut url = ConnectionString::new("connect_timeout=3");
    url.set_connect_timeout(Some(Duration::ZERO));
    assert_eq!(timeout(&url), Some(Duration::from_secs(3)));
}

#[test]
fn bad_variables_are_named() {
    for (name, value, expected) in [
        (
            "PGPORT",
            "x",
            "invalid port (from PGPORT) of host 1: expected a number from 1 to 65535",
        ),
        (
            "PGCONNECT_TIMEOUT",
            "x",
            "invalid connect_timeout (from PGCONNECT_TIMEOUT): expected a whole number",
        ),
    ] {
        let error = resolve_in("postgresql://h", &ann().with_variable(name, value)).unwrap_err();
        assert_eq!(error.message(), expected);
    }
    let environment = ann().with_variable("PGREQUIREPEER", "postgres");
    let error = resolve_in("postgresql://h", &environment).unwrap_err();
    assert!(error.message().contains("not supported yet"), "{error}");
    assert!(error.hint().unwrap().contains("unset PGREQUIREPEER"));
    // An empty variable is as good as none.
    resolve_in("postgresql://h", &ann().with_variable("PGPORT", "")).unwrap();
}

#[test]
fn numbers_have_libpqs_meaning() {
    let timeout = |text| resolve(text).connect_timeout;
    assert_eq!(timeout("connect_timeout=0"), None);
    assert_eq!(timeout("connect_timeout=-1"), None);
    assert_eq!(timeout("connect_timeout=1"), Some(Duration::from_secs(2)));
    assert_eq!(
        timeout("connect_timeout=' 30 '"),
        Some(Duration::from_secs(30))
    );
    assert_eq!(
        message("connect_timeout=5s"),
        "invalid connect_timeout: expected a whole number"
    );

    assert_eq!(resolve("keepalives=0").keepalives, None);
    assert_eq!(
        resolve("keepalives_idle=60 keepalives_interval=5 keepalives_count=3").keepalives,
        Some(Keepalives {
            idle: Some(Duration::from_secs(60)),
            interval: Some(Duration::from_secs(5)),
            count: Some(3),
        })
    );
    assert_eq!(
        resolve("tcp_user_timeout=1500").tcp_user_timeout,
        Some(Duration::from_millis(1500))
    );
    assert_eq!(resolve("tcp_user_timeout=0").tcp_user_timeout, None);
}

#[test]
fn words_are_checked() {
    assert_eq!(
        resolve("target_session_attrs=prefer-standby").target_session_attrs,
        TargetSessionAttrs::PreferStandby
    );
    assert_eq!(
        message("target_session_attrs=master"),
        "invalid target_session_attrs: expected any, read-write, read-only, primary, standby or prefer-standby"
    );
    assert!(!resolve("host=a,b").load_balance_hosts);
    assert!(!resolve("load_balance_hosts=disable").load_balance_hosts);
    assert!(resolve("load_balance_hosts=random").load_balance_hosts);
    for value in ["", "round-robin"] {
        assert_eq!(
            message(&format!("load_balance_hosts={value}")),
            "invalid load_balance_hosts: expected disable or random"
        );
    }
    assert_eq!(message("sslmode="), "invalid sslmode: it is empty");
    assert_eq!(
        message("sslmode=on"),
        "invalid sslmode: expected disable, allow, prefer, require, verify-ca or verify-full"
    );
}

#[test]
fn root_certificates_decide_what_is_verified() {
    let home = tempfile::tempdir().unwrap();
    let environment = ann().with_home(home.path());
    let tls = |text: &str| {
        resolve_in(text, &environment).map(|params| (params.ssl_mode, params.ssl_root_cert))
    };
    let system = Some(SslRootCert::System);
    assert_eq!(tls("sslmode=require").unwrap(), (SslMode::Require, None));
    for text in [
        "sslrootcert=system",
        "sslmode=verify-full sslrootcert=system",
    ] {
        assert_eq!(tls(text).unwrap(), (SslMode::VerifyFull, system.clone()));
    }
    for mode in ["verify-ca", "verify-full"] {
        let error = tls(&format!("sslmode={mode}")).unwrap_err();
        let expected = format!("sslmode {mode} needs a root certificate file");
        assert_eq!(error.message(), expected);
        assert!(error.hint().unwrap().contains("to system"), "{error:?}");
    }
    for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
        assert_eq!(
            tls(&format!("sslmode={mode} sslrootcert=system"))
                .unwrap_err()
                .message(),
            "sslmode is too weak for sslrootcert \"system\": expected verify-full"
        );
    }
    for mode in ["allow", "prefer", "require", "verify-ca", "verify-full"] {
        assert_eq!(
            tls(&format!("sslmode={mode} sslrootcert=/nonexistent"))
                .unwrap_err()
                .message(),
            "sslrootcert: the root certificate file does not exist"
        );
    }
    let unread = tls("sslmode=disable sslrootcert=/nonexistent");
    assert_eq!(unread.unwrap(), (SslMode::Disable, None));

    let file = home.path().join(".postgresql/root.crt");
    std::fs::create_dir(home.path().join(".postgresql")).unwrap();
    std::fs::write(&file, "").unwrap();
    let file = Some(SslRootCert::File(file));
    assert_eq!(tls("sslmode=disable").unwrap(), (SslMode::Disable, None));
    for (text, mode) in [
        ("sslmode=allow", SslMode::Allow),
        ("sslmode=prefer", SslMode::Prefer),
        ("host=h", SslMode::Prefer),
    ] {
        assert_eq!(tls(text).unwrap(), (mode, file.clone()));
    }
    assert_eq!(
        tls("sslmode=require").unwrap(),
        (SslMode::VerifyCa, file.clone())
    );
    assert_eq!(
        tls("sslmode=verify-ca").unwrap(),
        (SslMode::VerifyCa, file.clone())
    );
    assert_eq!(
        tls("sslmode=verify-full").unwrap(),
        (SslMode::VerifyFull, file)
    );
}

#[test]
fn the_name_that_is_verified_is_given_as_host() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("root.crt");
    std::fs::write(&file, "").unwrap();
    let named = |hosts: &str, environment: &Environment| {
        let roots = format!("sslmode=verify-full sslrootcert={}", file.display());
        resolve_in(&format!("{hosts} {roots}"), environment)
            .map(drop)
            .map_err(|error| error.message().to_owned())
    };
    for hosts in [
        "host=db0",
        "host=10.0.0.1",
        "host=db0,db1 hostaddr=10.0.0.1,10.0.0.2",
        "host=db0,db1 hostaddr=,10.0.0.2",
    ] {
        assert_eq!(named(hosts, &ann()), Ok(()), "{hosts}");
    }
    for (hosts, place) in [
        ("hostaddr=10.0.0.1", "host 1"),
        ("host=db0, hostaddr=10.0.0.1,10.0.0.2", "host 2"),
    ] {
        let told = named(hosts, &ann()).unwrap_err();
        assert_eq!(
            told,
            format!(
                "sslmode verify-full verifies the host, and of {place} hostaddr is all that is given"
            )
        );
    }
    // It may come from elsewhere.
    let elsewhere = ann().with_variable("PGHOST", "db0");
    assert_eq!(named("hostaddr=10.0.0.1", &elsewhere), Ok(()));
    assert!(resolve_in("hostaddr=10.0.0.1", &ann()).is_ok());
}

#[test]
fn files_of_libpq_are_found_at_home_or_where_they_are_named() {
    let home = tempfile::tempdir().unwrap();
    let environment = ann().with_home(home.path());
    let folder = home.path().join(".postgresql");
    std::fs::create_dir(&folder).unwrap();
    let write = |name: &str| {
        std::fs::write(folder.join(name), "").unwrap();
        folder.join(name)
    };
    let tls = |text: &str| resolve_in(text, &environment).unwrap();
    let message = |text: &str| {
        resolve_in(text, &environment)
            .unwrap_err()
            .message()
            .to_owned()
    };
    let root = write("root.crt");
    assert_eq!(tls("sslmode=verify-full").ssl_crl, None);
    let crl = write("root.crl");
    for mode in ["allow", "prefer", "require", "verify-ca", "verify-full"] {
        assert_eq!(tls(&format!("sslmode={mode}")).ssl_crl, Some(crl.clone()));
    }
    // It lists what other authorities have revoked.
    assert_eq!(tls("sslrootcert=system").ssl_crl, None);
    let other = write("other.crl");
    let named = tls(&format!("sslmode=verify-ca sslcrl={}", other.display()));
    assert_eq!(named.ssl_crl, Some(other.clone()));
    let directory = tls(&format!("sslmode=verify-ca sslcrldir={}", folder.display()));
    assert_eq!(
        (directory.ssl_crl, directory.ssl_crl_dir),
        (None, Some(folder.clone()))
    );
    assert_eq!(
        message("sslmode=verify-ca sslcrl=/nonexistent"),
        "sslcrl: the file of revoked certificates does not exist"
    );
    assert_eq!(
        message("sslmode=verify-ca sslcrldir=/nonexistent"),
        "sslcrldir: the directory does not exist"
    );
    std::fs::remove_file(&root).unwrap();
    assert_eq!(
        message(&format!("sslmode=require sslcrl={}", other.display())),
        "sslcrl has no effect, because no certificate is verified"
    );

    assert_eq!(tls("sslmode=prefer").ssl_client_cert, None);
    let certificate = write("postgresql.crt");
    assert!(message("sslmode=prefer").contains("no file with its private key"));
    for text in ["sslmode=disable", "sslcertmode=disable"] {
        assert_eq!(tls(text).ssl_client_cert, None, "{text}");
    }
    let key = write("postgresql.key");
    let mut own = ClientCert {
        certificate,
        key,
        passphrase: None,
    };
    assert_eq!(tls("sslmode=prefer").ssl_client_cert, Some(own.clone()));
    own.key = write("other.key");
    let named = tls(&format!("sslkey={}", own.key.display()));
    assert_eq!(named.ssl_client_cert, Some(own));
    assert_eq!(
        message("sslcert=/nonexistent"),
        "sslcert: the client certificate file does not exist"
    );
    let opened = tls("sslpassword=canary").ssl_client_cert.unwrap();
    assert_eq!(opened.passphrase, Some(Secret::new("canary")));
    assert!(!format!("{opened:?}").contains("canary"));
    std::fs::remove_file(folder.join("postgresql.crt")).unwrap();
    assert_eq!(
        message("sslcertmode=require"),
        "sslcertmode is require, but there is no client certificate"
    );
}

#[test]
fn what_is_asked_of_tls_and_the_login_is_read_as_libpq_reads_it() {
    let message = |text: &str| resolve_in(text, &ann()).unwrap_err().message().to_owned();
    let defaults = resolve("host=h");
    assert_eq!(defaults.ssl_negotiation, SslNegotiation::Postgres);
    assert_eq!(defaults.tls_versions, (TlsVersion::V1_2, TlsVersion::V1_3));
    assert!(defaults.ssl_sni);
    assert_eq!(defaults.channel_binding, ChannelBinding::Prefer);
    assert_eq!(defaults.require_auth, RequireAuth::default());

    let asked = resolve("sslmode=require sslnegotiation=direct sslsni=0 channel_binding=require");
    assert_eq!(asked.ssl_negotiation, SslNegotiation::Direct);
    assert!(!asked.ssl_sni);
    assert_eq!(asked.channel_binding, ChannelBinding::Require);
    for mode in ["", "sslmode=disable", "sslmode=allow", "sslmode=prefer"] {
        let said = message(&format!("sslnegotiation=direct {mode}"));
        assert!(
            said.contains("too weak for sslnegotiation"),
            "{mode}: {said}"
        );
    }

    let only = |versions: &str| resolve(versions).tls_versions;
    let v1_2 = (TlsVersion::V1_2, TlsVersion::V1_2);
    assert_eq!(only("ssl_max_protocol_version=tlsv1.2"), v1_2);
    assert_eq!(only("ssl_min_protocol_version=TLSv1.3").0, TlsVersion::V1_3);
    assert_eq!(only("ssl_min_protocol_version=TLSv1").0, TlsVersion::V1_2);

    let methods = |text: &str| resolve(&format!("require_auth={text}")).require_auth;
    let scram = RequireAuth {
        none: false,
        password: false,
        md5: false,
        scram_sha_256: true,
    };
    assert_eq!(methods("scram-sha-256"), scram);
    assert_eq!(methods("!none,!password,!md5"), scram);
    assert_eq!(
        methods("none,scram-sha-256"),
        RequireAuth {
            none: true,
            ..scram
        }
    );
    assert_eq!(methods("!gss"), RequireAuth::default());
    let nothing = RequireAuth {
        scram_sha_256: false,
        ..scram
    };
    assert_eq!(methods("gss"), nothing);

    for (text, expected) in [
        ("require_auth=SCRAM-SHA-256", "expected a list of none"),
        ("require_auth='md5, none'", "expected a list of none"),
        ("require_auth=md5,", "expected a list of none"),
        ("require_auth=md5,md5", "twice"),
        ("require_auth=md5,!none", "mixed"),
        ("require_auth=!md5,none", "mixed"),
        (
            "channel_binding=on",
            "expected prefer or disable or require",
        ),
        ("channel_binding=", "expected prefer or disable or require"),
        ("sslcertmode=always", "expected allow or disable or require"),
        ("sslnegotiation=", "expected postgres or direct"),
        ("sslsni=yes", "expected 1 or 0"),
        ("ssl_max_protocol_version=TLSv1.1", "not safe any more"),
        (
            "ssl_min_protocol_version=SSLv3",
            "expected TLSv1.2 or TLSv1.3",
        ),
        (
            "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
            "ssl_min_protocol_version is above ssl_max_protocol_version",
        ),
    ] {
        let said = message(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[cfg(unix)]
#[test]
fn the_password_file_gives_each_endpoint_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".pgpass");
    std::fs::write(
        &file,
        "a:5432:d:u:pa\nb:6:d:u:pb\nlocalhost:5432:d:u:pl\n/run/other:5432:d:u:po\n",
    )
    .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let environment = ann()
        .with_home(home.path())
        .with_socket_directory("/run/pg");
    let passwords = |text: &str, environment: &Environment| {
        let params = resolve_in(text, environment).unwrap();
        params
            .endpoints
            .iter()
            .map(|endpoint| {
                endpoint
                    .password
                    .as_ref()
                    .map_or("-", Secret::expose)
                    .to_owned()
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    let passwords_at_home = |text| passwords(text, &environment);
    assert_eq!(passwords_at_home("postgresql://u@a,b:6,c/d"), "pa pb -");
    assert_eq!(passwords_at_home("postgresql://u@a/other"), "-");
    assert_eq!(passwords_at_home("user=u dbname=d"), "pl");
    assert_eq!(passwords_at_home("user=u dbname=d host=/run/other"), "po");
    assert_eq!(
        passwords_at_home("user=u dbname=d host=a password=given"),
        "given"
    );
    assert_eq!(
        passwords_at_home("user=u dbname=d host=a passfile=/nonexistent"),
        "-"
    );

    let elsewhere = ann().with_variable("PGPASSFILE", file.to_str().unwrap());
    assert_eq!(passwords("postgresql://u@a/d", &elsewhere), "pa");
}

#[test]
fn debug_shows_no_secret() {
    let text = "postgresql://u:canary@h:1/d?options=canary&application_name=canary";
    let params = resolve(text);
    assert_eq!(
        format!("{params:?}"),
        "ConnectParams { endpoints: [h:1], dbname: \"d\", user: \"u\", ssl_mode: Prefer, \
         target_session_attrs: Any, .. }"
    );
}
