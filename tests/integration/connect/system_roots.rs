//! `sslrootcert=system`: the authorities that the operating system trusts. Where they are, SSL_CERT_FILE and
//! SSL_CERT_DIR may say, to OpenSSL for libpq and to us; so each login is made by a process of its own.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use merganser::config::Environment;
use merganser_local::Server;
use rcgen::KeyPair;

use super::tls::{Authority, IS_ENCRYPTED, params, show};
use super::tls_matrix::Psql;
use super::{ask_with, file, told};
use crate::support;

/// What [`a_login_of_another_process`] is told by.
const LOGIN: &str = "MERGANSER_TEST_LOGIN";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the test below, for a process with an environment of its own"]
async fn a_login_of_another_process() {
    let conninfo = env::var(LOGIN).unwrap();
    let home = Environment::default().with_home("/nonexistent");
    match ask_with(&conninfo, home, IS_ENCRYPTED).await {
        Ok(encrypted) => println!("\nencrypted: {encrypted}"),
        Err(error) => println!("\nrefused: {}", told(&error)),
    }
}

type Variables<'a> = [(&'a str, &'a str)];

fn login(conninfo: &str, variables: &Variables) -> String {
    let mut process = Command::new(env::current_exe().unwrap());
    let output = process
        .args(["--ignored", "--exact", "--nocapture"])
        .arg("connect::system_roots::a_login_of_another_process")
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR")
        .env(LOGIN, conninfo)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn authorities_of_the_system_vouch_for_names() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let key = KeyPair::generate().unwrap();
    let certificate = params(&["localhost", "127.0.0.1"]).signed_by(&key, &ours.issuer);
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_tls(certificate.unwrap().pem(), key.serialize_pem())
        .start()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bundle = file(
        folder.path(),
        "bundle.pem",
        &(other.pem.clone() + &ours.pem),
    );
    let others = file(folder.path(), "others.pem", &other.pem);
    let hashed = folder.path().join("hashed");
    fs::create_dir(&hashed).unwrap();
    file(&hashed, "ours.pem", &ours.pem);
    file(&hashed, "README", "no certificate");
    let rehashed = Command::new("openssl").arg("rehash").arg(&hashed).output();
    let is_hashed = rehashed.is_ok_and(|output| output.status.success());
    let psql = Psql::find(binaries);

    let found = [("SSL_CERT_FILE", &*bundle)];
    let not_found = [("SSL_CERT_FILE", &*others)];
    let nowhere = [("SSL_CERT_FILE", "/nonexistent")];
    let in_folder = [("SSL_CERT_DIR", hashed.to_str().unwrap())];
    let named = "host=db.example hostaddr=127.0.0.1";
    let mut logins: Vec<(&Variables, String, Option<&str>)> = Vec::new();
    for host in ["host=localhost hostaddr=127.0.0.1", "host=127.0.0.1"] {
        for mode in ["", "sslmode=verify-full"] {
            let asked = format!("{host} {mode} sslrootcert=system");
            logins.push((&found, asked.clone(), None));
            logins.push((&not_found, asked.clone(), Some("UnknownIssuer")));
            logins.push((&nowhere, asked.clone(), Some("no root certificate")));
            if is_hashed {
                logins.push((&in_folder, asked, None));
            }
        }
        // Anybody has a certificate of an authority that the system trusts.
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let asked = format!("{host} sslmode={mode} sslrootcert=system");
            logins.push((&found, asked, Some("too weak for sslrootcert")));
        }
        // It is not taken unless it is named.
        for mode in ["verify-ca", "verify-full"] {
            let asked = format!("{host} sslmode={mode}");
            logins.push((&found, asked, Some("needs a root certificate file")));
        }
    }
    let another = format!("{named} sslrootcert=system");
    logins.push((&found, another, Some("not valid for name")));
    for (variables, asked, refused) in &logins {
        let conninfo = format!(
            "port={} user=postgres dbname=postgres {asked}",
            server.port()
        );
        let told = login(&conninfo, variables);
        match refused {
            None => assert!(told.contains("\nencrypted: true"), "{asked}: {told}"),
            Some(why) => {
                assert!(told.contains("\nrefused: "), "{asked}: {told}");
                assert!(told.contains(why), "{asked}: {why}: {told}");
            }
        }
        // Before 16 it is the name of a file.
        if let Some(psql) = psql.as_ref().filter(|psql| psql.is_of_16()) {
            let output = psql.command_with(Path::new("/nonexistent"), &conninfo, variables);
            let told = String::from_utf8_lossy(&output.stderr);
            let connects = output.status.success();
            assert_eq!(connects, refused.is_none(), "psql: {asked}: {told}");
        }
    }
    support::tell(&format!(
        "{} logins by authorities of the system, {}",
        logins.len(),
        match psql.is_some_and(|psql| psql.is_of_16()) {
            true => "as psql decides them",
            false => "SKIPPED: a psql of 16 to compare them with",
        }
    ));
}

/// What a server has signed itself is nobody's to vouch for, whether or not the system has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_its_own_is_not_of_the_system() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let key = KeyPair::generate().unwrap();
    let own = params(&["localhost", "127.0.0.1"])
        .self_signed(&key)
        .unwrap()
        .pem();
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_tls(own.clone(), key.serialize_pem())
        .start()
        .unwrap();
    show(&server, &own).await;
    let other = Authority::new("other");
    let folder = tempfile::tempdir().unwrap();
    let bundle = file(folder.path(), "bundle.pem", &(own + &other.pem));
    let conninfo = format!(
        "host=127.0.0.1 port={} user=postgres dbname=postgres sslrootcert=system",
        server.port()
    );
    let told = login(&conninfo, &[("SSL_CERT_FILE", &bundle)]);
    assert!(told.contains("\nrefused: "), "{told}");
    assert!(told.contains("UnknownIssuer"), "{told}");
}
