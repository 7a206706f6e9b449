//! `sslmode` and certificates.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use merganser::config::Environment;
use merganser::{Error, ErrorKind, Phase};
use merganser_local::Server;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::{ask, ask_with, cluster, file, none_active, refused, rows, told};
use crate::support;

pub(super) const IS_ENCRYPTED: &str =
    "select ssl::text from pg_stat_ssl where pid = pg_backend_pid()";

pub(super) struct Authority {
    pub(super) pem: String,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    Authority::new(name)
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        Self::of(name, KeyPair::generate().unwrap(), |_| ())
    }

    /// One that has signed itself, with a key that there is.
    pub(super) fn of(
        name: &str,
        key: KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let mut params = authority_params(name);
        change(&mut params);
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn signed_by(
        above: &Self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = authority_params(name);
        change(&mut params);
        Self {
            pem: params.signed_by(&key, &above.issuer).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A list of what this authority has revoked, which is to be replaced by the first day of a year.
    pub(super) fn revoked(&self, serials: &[u64], next_year: i32) -> String {
        self.revoked_in(2020, serials, next_year)
    }

    /// The same, made on the first day of a year.
    pub(super) fn revoked_in(&self, year: i32, serials: &[u64], next_year: i32) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(year, 1, 1),
            next_update: date_time_ymd(next_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

pub(super) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "server");
    params
}

const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

/// Makes the server show another certificate of the same key.
pub(super) async fn show(server: &Server, certificate: &str) {
    let loaded = || {
        server
            .query("postgres", "select pg_conf_load_time()")
            .unwrap()
    };
    let before = loaded();
    std::fs::write(server.data_dir().join("server.crt"), certificate).unwrap();
    server
        .execute("postgres", "select pg_reload_conf()")
        .unwrap();
    while loaded() == before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn assert_distrusted(error: &Error, why: &str) {
    assert_eq!(
        (error.kind(), error.phase(), error.sql_state()),
        (ErrorKind::Connect, Some(Phase::Tls), None),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("sslrootcert"), "{error:?}");
    assert!(told(error).contains(why), "{why}: {error:?}");
    assert!(!error.is_retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_verified_as_far_as_sslmode_asks() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let (ours, other) = (authority("ours"), authority("other"));
    let folder = tempfile::tempdir().unwrap();
    let root = file(folder.path(), "root.crt", &ours.pem);
    let other_root = file(folder.path(), "other.crt", &other.pem);
    let key = KeyPair::generate().unwrap();
    let signed = |params: CertificateParams| params.signed_by(&key, &ours.issuer).unwrap().pem();
    let good = signed(params(&HERE));
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_tls(good.clone(), key.serialize_pem())
        .start()
        .unwrap();
    let url = |host: &str, mode: &str, root: &str| {
        let root = match root {
            "" => String::new(),
            root => format!("&sslrootcert={root}"),
        };
        format!(
            "postgresql://postgres@{host}:{}/postgres?sslmode={mode}{root}",
            server.port()
        )
    };
    let encrypted = async |url: String| ask(&url, IS_ENCRYPTED).await.expect(&url);

    for (mode, expected) in [
        ("disable", "false"),
        ("allow", "false"),
        ("prefer", "true"),
        ("require", "true"),
    ] {
        assert_eq!(
            encrypted(url("127.0.0.1", mode, "")).await,
            expected,
            "{mode}"
        );
    }
    for host in HERE {
        for mode in ["require", "verify-ca", "verify-full"] {
            assert_eq!(encrypted(url(host, mode, &root)).await, "true", "{mode}");
        }
    }
    // With a root certificate, `require` is as strict as `verify-ca`, as in libpq, and what is preferred is
    // TLS with somebody who is known.
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = refused(&url("127.0.0.1", mode, &other_root)).await;
        assert_distrusted(&error, "UnknownIssuer");
    }
    for (root, expected) in [(&root, "true"), (&other_root, "false")] {
        let url = url("127.0.0.1", "prefer", root);
        assert_eq!(encrypted(url).await, expected, "{root}");
    }

    show(&server, &signed(params(&["db.example"]))).await;
    assert_eq!(
        encrypted(url("127.0.0.1", "verify-ca", &root)).await,
        "true"
    );
    let error = refused(&url("127.0.0.1", "verify-full", &root)).await;
    assert_distrusted(&error, "db.example");
    let error = refused(&url("localhost", "verify-full", &root)).await;
    assert_distrusted(&error, "not valid for name");

    let mut expired = params(&HERE);
    expired.not_after = date_time_ymd(2020, 1, 1);
    show(&server, &signed(expired)).await;
    for mode in ["verify-ca", "verify-full"] {
        assert_distrusted(&refused(&url("127.0.0.1", mode, &root)).await, "expired");
    }
    assert_eq!(encrypted(url("127.0.0.1", "require", "")).await, "true");

    // Self-signed, as an authority too, which `openssl req -x509` makes it by default.
    for is_ca in [
        IsCa::NoCa,
        IsCa::ExplicitNoCa,
        IsCa::Ca(BasicConstraints::Unconstrained),
    ] {
        let mut own = params(&HERE);
        own.is_ca = is_ca;
        let own = own.self_signed(&key).unwrap().pem();
        show(&server, &own).await;
        for mode in ["verify-ca", "verify-full"] {
            let error = refused(&url("127.0.0.1", mode, &root)).await;
            assert_distrusted(&error, "invalid peer certificate");
        }
        assert_eq!(encrypted(url("127.0.0.1", "prefer", "")).await, "true");
        // It can be trusted by name, being its own authority.
        let own_root = file(folder.path(), "own.crt", &own);
        for mode in ["verify-ca", "verify-full"] {
            let answer = ask(&url("127.0.0.1", mode, &own_root), IS_ENCRYPTED).await;
            assert_eq!(answer.unwrap(), "true", "{mode} {is_ca:?}");
        }
    }

    // Such a one has to be valid, and for this host, too.
    for (names, year, mode, why) in [
        (&HERE[..], 2020, "verify-ca", "expired"),
        (&["db.example"], 2099, "verify-full", "db.example"),
    ] {
        let mut own = params(names);
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.not_after = date_time_ymd(year, 1, 1);
        let own = own.self_signed(&key).unwrap().pem();
        show(&server, &own).await;
        let own_root = file(folder.path(), "own.crt", &own);
        assert_distrusted(&refused(&url("127.0.0.1", mode, &own_root)).await, why);
    }

    let nonsense = file(folder.path(), "nonsense.crt", "canary");
    let error = refused(&url("127.0.0.1", "verify-ca", &nonsense)).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.message().contains("root certificates"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_used_only_where_that_is_allowed() {
    let Some(server) = support::server() else {
        return;
    };
    let authority = authority("ours");
    let folder = tempfile::tempdir().unwrap();
    let root = file(folder.path(), "root.crt", &authority.pem);
    let url = |mode: &str| format!("{}?sslmode={mode}", server.url("postgres"));
    for mode in ["disable", "allow", "prefer"] {
        assert_eq!(ask(&url(mode), IS_ENCRYPTED).await.unwrap(), "false");
    }
    for mode in [
        "require".to_owned(),
        format!("verify-ca&sslrootcert={root}"),
        format!("verify-full&sslrootcert={root}"),
    ] {
        let error = refused(&url(&mode)).await;
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Connect, Some(Phase::Tls))
        );
        assert!(error.message().contains("does not offer TLS"), "{error}");
        assert!(error.hint().unwrap().contains("turn ssl on"), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_hba_decides_where_sslmode_leaves_a_choice() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let key = KeyPair::generate().unwrap();
    let certificate = params(&HERE).self_signed(&key).unwrap().pem();
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_tls(certificate, key.serialize_pem())
        .with_hba("hostnossl only_tls all all reject")
        .with_hba("hostssl only_plain all all reject")
        .start()
        .unwrap();
    let only_tls = server.create_database("only_tls").unwrap();
    let only_plain = server.create_database("only_plain").unwrap();
    for (url, mode, expected) in [
        (&only_tls, "disable", None),
        (&only_tls, "allow", Some("true")),
        (&only_tls, "prefer", Some("true")),
        (&only_tls, "require", Some("true")),
        (&only_plain, "disable", Some("false")),
        (&only_plain, "allow", Some("false")),
        (&only_plain, "prefer", Some("false")),
        (&only_plain, "require", None),
    ] {
        let url = format!("{url}?sslmode={mode}");
        match expected {
            Some(expected) => assert_eq!(ask(&url, IS_ENCRYPTED).await.unwrap(), expected, "{url}"),
            None => {
                let error = refused(&url).await;
                assert_eq!(
                    (error.kind(), error.phase(), error.sql_state()),
                    (ErrorKind::Connect, Some(Phase::Auth), Some("28000")),
                    "{error}"
                );
                let hint = error.hint().unwrap();
                assert!(hint.contains("sslmode"), "{error:?}");
            }
        }
    }

    // Rows and cancel requests over TLS.
    let urls = [format!("{only_tls}?sslmode=require&application_name=tls")];
    let cluster = cluster(&urls, Environment::default());
    let sql = "select n, repeat('x', n % 100) from generate_series(1, 100000) n";
    let batches = cluster.fan_out(sql).collect().await.unwrap();
    assert_eq!(rows(&batches), 100_000);
    for _ in 0..3 {
        let sleeping = cluster.fan_out("select pg_sleep(60)").collect();
        let given_up = tokio::time::timeout(Duration::from_millis(300), sleeping).await;
        assert!(given_up.is_err());
        none_active(&server, "tls").await;
    }
    assert_eq!(
        rows(&cluster.fan_out(sql).collect().await.unwrap()),
        100_000
    );
    cluster.close().await;
}

/// Whether psql connects, with these variables and files in its home directory.
fn psql_connects(binaries: &Path, url: &str, home: &Path) -> bool {
    let psql = Command::new(binaries.join("psql"))
        .env("HOME", home)
        .args(["-X", "-w", "-c", "select 1", url])
        .output();
    psql.unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_refused_as_psql_refuses_it() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let (ours, other) = (authority("ours"), authority("other"));
    let key = KeyPair::generate().unwrap();
    let mut named = params(&HERE);
    named.serial_number = Some(SerialNumber::from(42));
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_tls(
            named.signed_by(&key, &ours.issuer).unwrap().pem(),
            key.serialize_pem(),
        )
        .start()
        .unwrap();
    for (list, why) in [
        (ours.revoked(&[], 2099), None),
        (ours.revoked(&[41, 43], 2099), None),
        (ours.revoked(&[41, 42], 2099), Some("Revoked")),
        // What a list may say that is missing or old, nobody knows.
        (ours.revoked(&[], 2021), Some("revocation list expired")),
        (other.revoked(&[], 2099), Some("UnknownRevocationStatus")),
        // Of two the newer one counts, wherever it stands.
        (
            ours.revoked_in(2020, &[], 2099) + &ours.revoked_in(2021, &[42], 2099),
            Some("Revoked"),
        ),
        (
            ours.revoked_in(2021, &[42], 2099) + &ours.revoked_in(2020, &[], 2099),
            Some("Revoked"),
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".postgresql");
        let hashed = home.path().join("hashed");
        fs::create_dir(&folder).unwrap();
        fs::create_dir(&hashed).unwrap();
        let root = file(home.path(), "ca.crt", &ours.pem);
        let crl = file(home.path(), "ca.crl", &list);
        file(&hashed, "0123abcd.r0", &list);
        file(&hashed, "README", "no list");
        file(&folder, "root.crt", &ours.pem);
        file(&folder, "root.crl", &list);
        let url = |options: &str| format!("{}?{options}", server.url("postgres"));
        let directory = hashed.to_str().unwrap();
        for options in [
            format!("sslmode=verify-full&sslrootcert={root}&sslcrl={crl}"),
            format!("sslmode=verify-ca&sslrootcert={root}&sslcrl={crl}"),
            "sslmode=verify-full".to_owned(),
            "sslmode=require".to_owned(),
            format!("sslmode=verify-full&sslcrldir={directory}"),
        ] {
            let url = url(&options);
            let environment = Environment::default().with_home(home.path());
            let answer = ask_with(&url, environment, IS_ENCRYPTED).await;
            match (&answer, why) {
                (Ok(encrypted), None) => assert_eq!(encrypted, "true", "{options}"),
                (Err(error), Some(why)) => assert_distrusted(error, why),
                (other, why) => panic!("{options}: expected {why:?}, found {other:?}"),
            }
            // It looks a list up by a hash of its issuer's name.
            if !options.contains("sslcrldir") {
                let connects = psql_connects(binaries.dir(), &url, home.path());
                assert_eq!(connects, why.is_none(), "psql: {options}: {why:?}");
            }
        }
        let nonsense = file(home.path(), "nonsense.crl", "canary");
        fs::remove_file(hashed.join("0123abcd.r0")).unwrap();
        for (options, cure) in [
            (format!("sslcrl={nonsense}"), "PEM"),
            (format!("sslcrldir={directory}"), "openssl rehash"),
        ] {
            let url = url(&format!("sslmode=verify-ca&sslrootcert={root}&{options}"));
            let error = refused(&url).await;
            assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
            assert!(error.hint().unwrap().contains(cure), "{error:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_certificate_gets_it() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let (ours, other) = (authority("ours"), authority("other"));
    let key = KeyPair::generate().unwrap();
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_tls(
            params(&HERE).signed_by(&key, &ours.issuer).unwrap().pem(),
            key.serialize_pem(),
        )
        .with_hba("hostssl certified all all cert")
        .start()
        .unwrap();
    let certified = server.create_database("certified").unwrap();
    let authority_file = server.data_dir().join("ca.crt");
    fs::write(&authority_file, &ours.pem).unwrap();
    fs::set_permissions(&authority_file, Permissions::from_mode(0o644)).unwrap();
    let set = "alter system set ssl_ca_file = 'ca.crt'";
    server.execute("postgres", set).unwrap();
    let certificate = fs::read_to_string(server.data_dir().join("server.crt")).unwrap();
    show(&server, &certificate).await;

    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join(".postgresql");
    fs::create_dir(&folder).unwrap();
    let mut user = CertificateParams::default();
    user.distinguished_name.push(DnType::CommonName, "postgres");
    let key = KeyPair::generate().unwrap();
    let user_file = |name: &str, text: &str, mode: u32| {
        let path = file(&folder, name, text);
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    };
    let signed = user.signed_by(&key, &ours.issuer).unwrap().pem();
    let certificate = user_file("own.crt", &signed, 0o644);
    let own_key = user_file("own.key", &key.serialize_pem(), 0o600);
    let foreign = user.signed_by(&key, &other.issuer).unwrap().pem();
    let foreign = user_file("foreign.crt", &foreign, 0o644);
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let other_key = user_file("other.key", &other_key, 0o600);
    let open_key = user_file("open.key", &key.serialize_pem(), 0o644);
    let label = "ENCRYPTED PRIVATE KEY";
    let encrypted = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
    let encrypted = user_file("encrypted.key", &encrypted, 0o600);
    let label = "RSA PRIVATE KEY";
    let of_old = format!(
        "-----BEGIN {label}-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
         -----END {label}-----\n"
    );
    let of_old = user_file("of_old.key", &of_old, 0o600);

    let ask_at_home = async |options: &str| {
        let url = format!("{certified}?sslmode=require{options}");
        let environment = Environment::default().with_home(home.path());
        let connects = psql_connects(binaries.dir(), &url, home.path());
        let answer = ask_with(&url, environment, IS_ENCRYPTED).await;
        assert_eq!(answer.is_ok(), connects, "{options}: {answer:?}");
        answer
    };
    let both = |certificate: &str, key: &str| format!("&sslcert={certificate}&sslkey={key}");
    let error = ask_at_home("").await.unwrap_err();
    assert_eq!(error.sql_state(), Some("28000"), "{error:?}");
    let answer = ask_at_home(&both(&certificate, &own_key)).await;
    assert_eq!(answer.unwrap(), "true");
    let error = ask_at_home(&both(&foreign, &own_key)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Connect, Some(Phase::Auth))
    );
    assert!(!error.is_retryable(), "{error:?}");
    for (certificate, key, message, cure) in [
        (&certificate, &open_key, "others have access", "chmod 600"),
        (
            &certificate,
            &other_key,
            "cannot use",
            "certificate of the key",
        ),
        (
            &certificate,
            &encrypted,
            "pass phrase is needed",
            "sslpassword",
        ),
        (
            &certificate,
            &format!("{encrypted}&sslpassword=canary"),
            "cannot decrypt",
            "pass phrase",
        ),
        (&certificate, &of_old, "cannot read", "openssl pkcs8"),
        (&certificate, &certificate, "others have access", "chmod"),
        (&own_key, &own_key, "cannot", "certificate"),
    ] {
        let error = ask_at_home(&both(certificate, key)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.message().contains(message), "{error:?}");
        assert!(error.hint().unwrap().contains(cure), "{error:?}");
    }

    user_file("postgresql.crt", &signed, 0o644);
    user_file("postgresql.key", &key.serialize_pem(), 0o600);
    assert_eq!(ask_at_home("").await.unwrap(), "true");
    if binaries.major_version() >= 16 {
        ask_at_home("&sslcertmode=disable").await.unwrap_err();
    }
}
