//! Every combination of what a connection string asks for with what a server, its certificate and ours
//! may be: nobody is let in whom psql keeps out, and nothing goes unencrypted that psql encrypts.
//!
//! `MERGANSER_LIBPQ` names the file of another libpq for psql to run with, since what PostgreSQL 16 and
//! 17 have added is not known to an older one. What psql does not know is not compared, and counted.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures::StreamExt;
use merganser::config::Environment;
use merganser_local::{Binaries, Server};
use rcgen::string::{BmpString, Ia5String};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    SerialNumber, date_time_ymd,
};

use super::tls::{Authority, IS_ENCRYPTED, params, show};
use super::{ask_with, file};
use crate::support;

/// Where we refuse what psql takes, or encrypt what it does not: the parts of a case's name that say so, and
/// why.
const STRICTER: &[(&[&str], &str)] = &[
    (&["roots=missing"], "a file that is named has to exist"),
    (
        &["roots=none", "crl=ours"],
        "a list that nothing is held against is a mistake",
    ),
    (
        &["shows=authority"],
        "an authority's certificate is no server's, unless it is trusted by name",
    ),
    (
        &["roots=in UTF-16"],
        "an authority has its name in what it signs as it has it in its own certificate",
    ),
    (
        &["roots=with a blank"],
        "an authority has its name in what it signs as it has it in its own certificate",
    ),
    (
        &["roots=X509"],
        "nothing but CERTIFICATE is read of a file of certificates",
    ),
    (
        &["roots=ours, and X509", "crl="],
        "where there are lists, all of the file of certificates has to be read",
    ),
    (
        &["crl=spelled anew"],
        "an authority has its name in what it signs as it has it in its own certificate",
    ),
    (
        &["shows=version 1"],
        "a certificate of version 1 cannot say that it is no authority",
    ),
    (
        &["shows=wildcard of a domain"],
        "a wildcard has two labels behind it",
    ),
    (
        &["offers="],
        "rustls has neither the ciphers nor the curves of old",
    ),
    (
        &["max=TLSv1 ", "mode=prefer"],
        "without TLS is no way out of a version that is not safe",
    ),
    (
        &["max=TLSv1.1 ", "mode=prefer"],
        "without TLS is no way out of a version that is not safe",
    ),
    (
        &["asks=false", "database=known", "mode=prefer"],
        "without TLS is a way out of what pg_hba.conf says, and of nothing else",
    ),
    (
        &["identity=no file"],
        "a certificate that is named has to be there",
    ),
    (&["identity=open key", "mode=prefer"], OWN_FILES),
    (&["identity=other key", "mode=prefer"], OWN_FILES),
    (&["identity=no key", "mode=prefer"], OWN_FILES),
    (&["identity=locked, no phrase", "mode=prefer"], OWN_FILES),
    (&["identity=locked, wrong phrase", "mode=prefer"], OWN_FILES),
];

const OWN_FILES: &str = "without TLS is no way out of a mistake with the files for it";

/// The same, where it depends on the OpenSSL of psql.
const MAY_BE_STRICTER: &[(&[&str], &str)] = &[
    (
        &["roots=of short chains"],
        "a root may say how many authorities stand below it: OpenSSL asks it since 3.0",
    ),
    (
        &["shows=chain for other names, CN"],
        "a CN of one word is held against what an authority says of names, too",
    ),
    (
        &["shows=CN", "roots=of other names"],
        "a CN of one word is held against what an authority says of names, too",
    ),
    (
        &["roots=ours, and that"],
        "of several roots with a name all have to be in force",
    ),
    (
        &["roots=own", "crl=its own"],
        "nothing says whether a certificate that has signed itself is revoked",
    ),
];

/// One connection.
struct Case {
    name: String,
    conninfo: String,
    home: PathBuf,
}

/// What came of a connection: whether it is encrypted, if it was made.
type Verdict = Option<bool>;

#[derive(Default)]
struct Tally {
    same: usize,
    stricter: BTreeMap<usize, usize>,
    /// Where psql, which prefers TLS, goes without it and we refuse: it may be that only we cannot have it.
    not_in_the_clear: usize,
    unknown: usize,
    faults: Vec<String>,
}

pub(super) struct Psql {
    program: PathBuf,
    /// Where another libpq is looked for first.
    libraries: Option<(tempfile::TempDir, String)>,
    unknown: Vec<&'static str>,
}

impl Psql {
    /// `None` where there is none; it says so.
    pub(super) fn find(binaries: &Binaries) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = vec![binaries.dir().to_owned()];
        folders.extend(std::env::split_paths(&path));
        let program = folders.into_iter().map(|folder| folder.join("psql"));
        let Some(program) = program.into_iter().find(|program| program.is_file()) else {
            support::tell("SKIPPED: no psql to compare logins with");
            return None;
        };
        let libraries = std::env::var_os("MERGANSER_LIBPQ").map(|file| {
            let file = PathBuf::from(file);
            let folder = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(&file, folder.path().join("libpq.so.5")).unwrap();
            let beside = file.parent().unwrap().display().to_string();
            let path = format!("{}:{beside}", folder.path().display());
            (folder, path)
        });
        let mut psql = Self {
            program,
            libraries,
            unknown: Vec::new(),
        };
        // Each is given in the words of an error that comes before any connection is tried.
        let known = |option: &&str| {
            let output = psql.command(Path::new("/"), &format!("port=0 {option}=?"));
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(told.contains("invalid"), "{option}: {told}");
            !told.contains("invalid connection option")
        };
        let options = ["require_auth", "sslcertmode", "sslnegotiation"];
        psql.unknown = options
            .into_iter()
            .filter(|option| !known(option))
            .collect();
        Some(psql)
    }

    /// Whether its libpq is that of PostgreSQL 16, or a later one.
    pub(super) fn is_of_16(&self) -> bool {
        !self.unknown.contains(&"require_auth")
    }

    fn command(&self, home: &Path, conninfo: &str) -> std::process::Output {
        self.command_with(home, conninfo, &[])
    }

    pub(super) fn command_with(
        &self,
        home: &Path,
        conninfo: &str,
        variables: &[(&str, &str)],
    ) -> std::process::Output {
        let mut command = Command::new(&self.program);
        command.env_clear().env("HOME", home);
        command.envs(variables.iter().copied());
        if let Some((_, path)) = &self.libraries {
            command.env("LD_LIBRARY_PATH", path);
        }
        let sql = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
        command.args(["-X", "-w", "-A", "-t", "-c", sql, conninfo]);
        command.output().unwrap()
    }

    fn knows(&self, case: &Case) -> bool {
        !self
            .unknown
            .iter()
            .any(|option| case.conninfo.contains(option))
    }

    fn verdict(&self, case: &Case) -> (Verdict, String) {
        let output = self.command(&case.home, &case.conninfo);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let verdict = output.status.success().then(|| match &*output.stdout {
            b"t\n" => true,
            b"f\n" => false,
            other => panic!("{}: psql printed {other:?}", case.name),
        });
        (verdict, told)
    }
}

impl Tally {
    async fn compare(&mut self, psql: &Psql, cases: Vec<Case>) {
        let (known, unknown): (Vec<_>, Vec<_>) =
            cases.into_iter().partition(|case| psql.knows(case));
        self.unknown += unknown.len();
        let outcomes = futures::stream::iter(known).map(async |case: Case| {
            let environment = Environment::default().with_home(&case.home);
            let ours = ask_with(&case.conninfo, environment, IS_ENCRYPTED).await;
            let (theirs, told) = tokio::task::block_in_place(|| psql.verdict(&case));
            (case, ours, theirs, told)
        });
        let mut outcomes = outcomes.buffer_unordered(4);
        while let Some((case, ours, theirs, told)) = outcomes.next().await {
            let verdict = ours.as_ref().ok().map(|encrypted| encrypted == "true");
            if verdict == theirs {
                self.same += 1;
                continue;
            }
            let stricter = verdict.is_none() || (verdict, theirs) == (Some(true), Some(false));
            let reason = STRICTER
                .iter()
                .chain(MAY_BE_STRICTER)
                .position(|(parts, _)| parts.iter().all(|part| case.name.contains(part)));
            let goes_without = case.name.contains("mode=prefer") && theirs == Some(false);
            match reason.filter(|_| stricter) {
                Some(reason) => *self.stricter.entry(reason).or_default() += 1,
                None if goes_without && verdict.is_none() => self.not_in_the_clear += 1,
                None => self.faults.push(format!(
                    "{}\n    {}\n    psql: {theirs:?} {told}    we: {verdict:?} {:?}",
                    case.name,
                    case.conninfo,
                    ours.as_ref().err()
                )),
            }
        }
    }
}

/// A certificate of the server's key, in what form a server may show one.
struct Shows {
    name: &'static str,
    /// With the certificates behind it.
    chain: String,
}

/// What `sslrootcert` and `sslcrl` name.
struct Roots {
    name: &'static str,
    /// Of the root certificates; `None` where nothing is named.
    file: Option<String>,
    crl: Option<(&'static str, String)>,
    /// Whether there is another root behind, which has signed nothing.
    has_foreign: bool,
}

struct Pki {
    root: Authority,
    root_key: String,
    other: Authority,
    intermediate: Authority,
    server_key: KeyPair,
}

impl Pki {
    fn new() -> Self {
        let root_key = KeyPair::generate().unwrap().serialize_pem();
        let root = Authority::of("root", KeyPair::from_pem(&root_key).unwrap(), |_| ());
        let intermediate = Authority::signed_by(&root, "intermediate", |params| {
            params.serial_number = Some(SerialNumber::from(7));
        });
        Self {
            root,
            root_key,
            other: Authority::new("other"),
            intermediate,
            server_key: KeyPair::generate().unwrap(),
        }
    }

    /// Another certificate for the key and the name of the root.
    fn root_again(&self, change: impl FnOnce(&mut CertificateParams)) -> String {
        Authority::of("root", KeyPair::from_pem(&self.root_key).unwrap(), change).pem
    }

    fn server(
        &self,
        issuer: &Authority,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> String {
        let mut params = params(names);
        change(&mut params);
        let signed = params.signed_by(&self.server_key, &issuer.issuer);
        signed.unwrap().pem()
    }

    fn own(&self, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = params(&HERE);
        params.distinguished_name.push(DnType::CommonName, "own");
        change(&mut params);
        params.self_signed(&self.server_key).unwrap().pem()
    }

    fn shown(&self) -> Vec<Shows> {
        let root = &self.root;
        let named = |name: &'static str| {
            move |params: &mut CertificateParams| {
                params.distinguished_name.push(DnType::CommonName, name);
            }
        };
        let chain = |issuer: &Authority| {
            let end = self.server(issuer, &HERE, |_| ());
            format!("{end}{}", issuer.pem)
        };
        let expired = |params: &mut CertificateParams| {
            params.not_after = date_time_ymd(2020, 1, 1);
        };
        let old = Authority::signed_by(root, "old", expired);
        let short = Authority::signed_by(root, "short", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        });
        let below = Authority::signed_by(&self.intermediate, "below", |_| ());
        let below_short = Authority::signed_by(&short, "below short", |_| ());
        let limited = Authority::signed_by(root, "limited", |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("example".to_owned())],
                excluded_subtrees: Vec::new(),
            });
        });
        let without = Authority::signed_by(root, "without", |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: Vec::new(),
                excluded_subtrees: vec![
                    GeneralSubtree::DnsName("example.org".to_owned()),
                    GeneralSubtree::Rfc822Name("example.org".to_owned()),
                ],
            });
        });
        let below_without = Authority::signed_by(&without, "below without", |_| ());
        let subject = |issuer: &Authority, name: &'static str, rest: &str| {
            let end = self.server(issuer, &[], named(name));
            format!("{end}{}{rest}", issuer.pem)
        };
        let no_authority = Authority::signed_by(root, "none", |params| {
            params.is_ca = IsCa::ExplicitNoCa;
        });
        let mut shown = vec![
            ("good", self.server(root, &HERE, |_| ())),
            ("chain", chain(&self.intermediate)),
            (
                "chain without its middle",
                self.server(&self.intermediate, &HERE, |_| ()),
            ),
            (
                "long chain",
                format!("{}{}", chain(&below), self.intermediate.pem),
            ),
            (
                "chain that is too long",
                format!("{}{}", chain(&below_short), short.pem),
            ),
            ("chain of an expired authority", chain(&old)),
            ("chain of no authority", chain(&no_authority)),
            ("chain for other names", chain(&limited)),
            (
                "chain for other names, CN",
                subject(&limited, "localhost", ""),
            ),
            (
                "chain for other names, long CN",
                subject(&limited, "db.example.org", ""),
            ),
            (
                "chain for its name, CN",
                subject(&limited, "db.example", ""),
            ),
            (
                "chain for other names, CN for nobody",
                subject(&limited, "the server", ""),
            ),
            (
                "chain without a name, CN",
                subject(&without, "db.Example.org", ""),
            ),
            (
                "long chain without a name, CN",
                subject(&below_without, "db.example.org", &without.pem),
            ),
            (
                "chain without a name, another CN",
                subject(&without, "badexample.org", ""),
            ),
            (
                "chain without an address",
                format!(
                    "{}{}",
                    self.server(&without, &HERE, |params| {
                        let email = DnType::CustomDnType(vec![1, 2, 840, 113549, 1, 9, 1]);
                        let address = Ia5String::try_from("a@example.org").unwrap();
                        params
                            .distinguished_name
                            .push(email, DnValue::Ia5String(address));
                    }),
                    without.pem
                ),
            ),
            ("other name", self.server(root, &["db.example"], |_| ())),
            ("CN", self.server(root, &[], named("localhost"))),
            ("CN, address", self.server(root, &[], named("127.0.0.1"))),
            (
                "CN, other name",
                self.server(root, &[], named("db.example")),
            ),
            ("CN, wildcard", self.server(root, &[], named("*.example"))),
            (
                "CN, and another alternative",
                self.server(root, &["other.example"], named("localhost")),
            ),
            (
                "CN, and an address",
                self.server(root, &["127.0.0.2"], named("localhost")),
            ),
            ("wildcard", self.server(root, &["*.db.example"], |_| ())),
            (
                "wildcard of a domain",
                self.server(root, &["*.example"], |_| ()),
            ),
            ("expired", self.server(root, &HERE, expired)),
            (
                "not yet valid",
                self.server(root, &HERE, |params| {
                    params.not_before = date_time_ymd(2090, 1, 1);
                    params.not_after = date_time_ymd(2091, 1, 1);
                }),
            ),
            (
                "revoked",
                self.server(root, &HERE, |params| {
                    params.serial_number = Some(SerialNumber::from(42));
                }),
            ),
            ("of another", self.server(&self.other, &HERE, |_| ())),
            (
                "for clients",
                self.server(root, &HERE, |params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                }),
            ),
            (
                "authority",
                self.server(root, &HERE, |params| {
                    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                }),
            ),
            ("own", self.own(|_| ())),
            (
                "own authority",
                self.own(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            ),
            ("own, expired", self.own(expired)),
        ];
        if let Some(old) = self.version_1() {
            shown.push(("version 1", old));
        }
        let shows = |(name, chain)| Shows { name, chain };
        shown.into_iter().map(shows).collect()
    }

    /// As PostgreSQL's documentation makes one, with OpenSSL 3.0: rcgen cannot. `None` without `openssl`.
    fn version_1(&self) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        file(
            folder.path(),
            "server.key",
            &self.server_key.serialize_pem(),
        );
        file(folder.path(), "root.key", &self.root_key);
        file(folder.path(), "root.crt", &self.root.pem);
        let request = openssl(
            folder.path(),
            "req -new -key server.key -subj /CN=localhost -out server.csr",
        );
        let sign = "x509 -req -in server.csr -CA root.crt -CAkey root.key -set_serial 5 -days 30 \
                    -out server.crt";
        (request && openssl(folder.path(), sign))
            .then(|| fs::read_to_string(folder.path().join("server.crt")).unwrap())
    }

    fn roots(&self, shown: &[Shows]) -> Vec<Roots> {
        let root = &self.root.pem;
        let file = |name, text: &str| Roots {
            name,
            file: Some(text.to_owned()),
            crl: None,
            has_foreign: false,
        };
        let own = |name: &str| {
            let mut shown = shown.iter();
            &*shown.find(|shows| shows.name == name).unwrap().chain
        };
        let its_own = KeyPair::from_pem(&self.server_key.serialize_pem()).unwrap();
        let its_own = Authority::of("own", its_own, |_| ());
        let expired = self.root_again(|params| params.not_after = date_time_ymd(2020, 1, 1));
        let crl = |name, list: String| Roots {
            name: "ours",
            file: Some(root.clone()),
            crl: Some((name, list)),
            has_foreign: false,
        };
        let all = format!(
            "{}{}",
            self.root.revoked(&[7, 42], 2099),
            self.intermediate.revoked(&[], 2099)
        );
        let none = format!(
            "{}{}",
            self.root.revoked(&[41], 2099),
            self.intermediate.revoked(&[], 2099)
        );
        let that_may = |usages: &[KeyUsagePurpose]| {
            self.root_again(|params| params.key_usages = usages.to_vec())
        };
        let with_crl = |name, file: String, list| Roots {
            name,
            file: Some(file),
            crl: Some(("its own", list)),
            has_foreign: false,
        };
        let revoked_itself = || {
            self.root_again(|params| {
                params.serial_number = Some(SerialNumber::from(77));
            })
        };
        let signs = KeyUsagePurpose::KeyCertSign;
        let almost = Authority::of("ro ot", KeyPair::generate().unwrap(), |params| {
            params.key_usages = vec![signs];
        });
        let renamed = |name: DnValue| {
            self.root_again(|params| params.distinguished_name.push(DnType::CommonName, name))
        };
        let in_utf_16 = DnValue::BmpString(BmpString::try_from("root").unwrap());
        let spelled_anew = KeyPair::from_pem(&self.root_key).unwrap();
        let spelled_anew = Authority::of("root", spelled_anew, |params| {
            let name = in_utf_16.clone();
            params.distinguished_name.push(DnType::CommonName, name);
        });
        let as_x509 = |pem: &str| pem.replace("CERTIFICATE", "X509 CERTIFICATE");
        let mut roots = vec![
            crl(
                "spelled anew",
                self.root.revoked(&[], 2099) + &spelled_anew.revoked_in(2021, &[42], 2099),
            ),
            crl(
                "spelled anew, older",
                spelled_anew.revoked(&[], 2099) + &self.root.revoked_in(2021, &[42], 2099),
            ),
            with_crl(
                "ours, with a newer list",
                root.clone() + &self.root.revoked_in(2021, &[42], 2099),
                self.root.revoked(&[], 2099),
            ),
            with_crl(
                "ours, with an older list",
                root.clone() + &self.root.revoked(&[42], 2099),
                self.root.revoked_in(2021, &[], 2099),
            ),
            file(
                "ours, with a list, and without it elsewhere",
                &(root.clone() + &self.root.revoked(&[42], 2099)),
            ),
            with_crl(
                "ours, and X509 that has revoked itself",
                root.clone() + &as_x509(&revoked_itself()),
                self.root.revoked(&[77], 2099),
            ),
            with_crl(
                "X509 that has revoked itself, and ours",
                as_x509(&revoked_itself()) + root,
                self.root.revoked(&[77], 2099),
            ),
            with_crl(
                "ours, and X509 that may not revoke",
                root.clone() + &as_x509(&that_may(&[signs])),
                self.root.revoked(&[], 2099),
            ),
            with_crl(
                "that may not revoke",
                that_may(&[signs]),
                self.root.revoked(&[], 2099),
            ),
            with_crl(
                "that may revoke",
                that_may(&[signs, KeyUsagePurpose::CrlSign]),
                self.root.revoked(&[], 2099),
            ),
            file("that may not revoke", &that_may(&[signs])),
            with_crl(
                "that has revoked itself",
                revoked_itself(),
                self.root.revoked(&[77], 2099),
            ),
            with_crl(
                "that has revoked itself, and ours",
                revoked_itself() + root,
                self.root.revoked(&[77], 2099),
            ),
            with_crl(
                "ours, and that has revoked itself",
                root.clone() + &revoked_itself(),
                self.root.revoked(&[77], 2099),
            ),
            with_crl(
                "that may not revoke, and ours",
                that_may(&[signs]) + root,
                self.root.revoked(&[], 2099),
            ),
            with_crl(
                "ours, and that may not revoke",
                root.clone() + &that_may(&[signs]),
                self.root.revoked(&[], 2099),
            ),
            file(
                "of other names",
                &self.root_again(|params| {
                    params.name_constraints = Some(NameConstraints {
                        permitted_subtrees: vec![GeneralSubtree::DnsName("example".to_owned())],
                        excluded_subtrees: Vec::new(),
                    });
                }),
            ),
            Roots {
                name: "none",
                file: None,
                crl: None,
                has_foreign: false,
            },
            Roots {
                name: "none",
                file: None,
                crl: Some(("ours", self.root.revoked(&[], 2099))),
                has_foreign: false,
            },
            file("missing", ""),
            file("ours", root),
            file("others", &self.other.pem),
            file("both", &format!("{}{root}", self.other.pem)),
            file("expired", &expired),
            file("expired and ours", &format!("{expired}{root}")),
            file("intermediate", &self.intermediate.pem),
            file(
                "intermediate and ours",
                &format!("{}{root}", self.intermediate.pem),
            ),
            file(
                "no authority",
                &self.root_again(|params| params.is_ca = IsCa::ExplicitNoCa),
            ),
            file(
                "says nothing",
                &self.root_again(|params| params.is_ca = IsCa::NoCa),
            ),
            file(
                "of short chains",
                &self.root_again(|params| {
                    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                }),
            ),
            file(
                "for clients",
                &self.root_again(|params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                }),
            ),
            file("own", own("own")),
            file("own authority", own("own authority")),
            file("own, expired", own("own, expired")),
            with_crl("own", own("own").to_owned(), its_own.revoked(&[], 2099)),
            with_crl(
                "own",
                own("own authority").to_owned(),
                its_own.revoked(&[], 2099),
            ),
            with_crl(
                "ours, and one of almost its name",
                root.clone() + &almost.pem,
                self.root.revoked(&[], 2099),
            ),
            file("in UTF-16", &renamed(in_utf_16)),
            file(
                "with a blank",
                &renamed(DnValue::Utf8String(" root".to_owned())),
            ),
            file("X509", &as_x509(root)),
            crl("all", all),
            crl("others serials", none),
            crl("ours alone", self.root.revoked(&[], 2099)),
            crl("too old", self.root.revoked(&[], 2021)),
            crl("others", self.other.revoked(&[], 2099)),
        ];
        let foreign = Authority::new("foreign").pem;
        let with_foreign = |roots: &Roots| {
            let file = roots.file.as_ref().filter(|_| roots.name != "missing")?;
            Some(Roots {
                name: roots.name,
                file: Some(format!("{file}{foreign}")),
                crl: roots.crl.clone(),
                has_foreign: true,
            })
        };
        let with_foreign: Vec<_> = roots.iter().filter_map(with_foreign).collect();
        roots.extend(with_foreign);
        roots
    }
}

const HERE: [&str; 2] = ["127.0.0.1", "localhost"];

/// Whether `openssl` is there, and did that.
fn openssl(folder: &Path, arguments: &str) -> bool {
    let mut command = Command::new("openssl");
    command
        .args(arguments.split_whitespace())
        .current_dir(folder);
    command.output().is_ok_and(|output| output.status.success())
}

/// A folder of files, which cases name.
struct Files(tempfile::TempDir);

impl Files {
    fn write(&self, name: &str, text: &str) -> String {
        let path = file(self.0.path(), name, text);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}

async fn set(server: &Server, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        let sql = format!("alter system set {name} = '{value}'");
        server.execute("postgres", &sql).unwrap();
    }
    let certificate = fs::read_to_string(server.data_dir().join("server.crt")).unwrap();
    show(server, &certificate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verdict_is_laxer_than_psqls() {
    let Some(binaries) = support::binaries() else {
        return;
    };
    let Some(psql) = Psql::find(binaries) else {
        return;
    };
    let pki = Pki::new();
    let files = Files(tempfile::tempdir().unwrap());
    let home = tempfile::tempdir().unwrap();
    let server = Server::builder()
        .with_binaries(binaries.clone())
        .with_tls(
            pki.server(&pki.root, &HERE, |_| ()),
            pki.server_key.serialize_pem(),
        )
        .with_hba("hostssl certified all all cert")
        .with_hba("hostnossl certified,secured all all reject")
        .with_hba("hostssl known all all trust clientcert=verify-ca")
        .with_hba("host all clear all password")
        .with_hba("host all md5 all md5")
        .with_hba("host all scram all scram-sha-256")
        .start()
        .unwrap();
    server
        .execute(
            "postgres",
            "create role scram login password 'word'; create role clear login password 'word';
             set password_encryption = 'md5'; create role md5 login password 'word'",
        )
        .unwrap();
    for database in ["certified", "known", "secured"] {
        server.create_database(database).unwrap();
    }
    let case = |name: String, options: &str| Case {
        name,
        conninfo: format!(
            "port={} user=postgres dbname=postgres {options}",
            server.port()
        ),
        home: home.path().to_owned(),
    };
    let mut tally = Tally::default();

    // Whom to trust: what the server shows, what is trusted, and how far it is to be verified.
    let shown = pki.shown();
    let roots: Vec<_> = pki.roots(&shown);
    for (at, shows) in shown.iter().enumerate() {
        show(&server, &shows.chain).await;
        let mut cases = Vec::new();
        for (place, roots) in roots.iter().enumerate() {
            let crl = roots.crl.as_ref();
            let name = format!(
                "shows={} roots={} crl={} foreign={}",
                shows.name,
                roots.name,
                crl.map_or("", |(name, _)| name),
                roots.has_foreign
            );
            let mut options = String::from("host=127.0.0.1");
            if let Some(text) = &roots.file {
                let path = match roots.name {
                    "missing" => files.0.path().join("missing").display().to_string(),
                    _ => files.write(&format!("root-{at}-{place}"), text),
                };
                options.push_str(&format!(" sslrootcert={path}"));
            }
            if let Some((_, list)) = crl {
                let path = files.write(&format!("crl-{at}-{place}"), list);
                options.push_str(&format!(" sslcrl={path}"));
            }
            let modes: &[&str] = match roots.name {
                _ if roots.has_foreign => &["prefer"],
                "none" | "missing" | "ours" if crl.is_none() || roots.name == "none" => &[
                    "disable",
                    "allow",
                    "prefer",
                    "require",
                    "verify-ca",
                    "verify-full",
                ],
                _ => &["prefer", "verify-ca"],
            };
            let modes = modes.iter().map(|mode| (*mode, "postgres"));
            // And where there is no way out into the clear.
            let weak = ["allow", "prefer"].map(|mode| (mode, "secured"));
            let is_short = ["none", "missing", "ours", "others", "own"].contains(&roots.name);
            let modes = modes.chain(
                weak.into_iter()
                    .filter(|_| is_short && crl.is_none() && !roots.has_foreign),
            );
            for (mode, database) in modes {
                cases.push(case(
                    format!("{name} mode={mode} database={database}"),
                    &format!("{options} sslmode={mode} dbname={database}"),
                ));
            }
        }
        // And whose name it is.
        let root = files.write("ours", &format!("{}{}", pki.intermediate.pem, pki.root.pem));
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "db.example",
            "a.db.example",
            "127.0.0.2",
        ] {
            cases.push(case(
                format!("shows={} host={host}", shows.name),
                &format!("host={host} hostaddr=127.0.0.1 sslmode=verify-full sslrootcert={root}"),
            ));
        }
        for mode in ["verify-ca", "verify-full"] {
            cases.push(case(
                format!("shows={} mode={mode} without a host", shows.name),
                &format!("hostaddr=127.0.0.1 sslmode={mode} sslrootcert={root}"),
            ));
        }
        tally.compare(&psql, cases).await;
    }

    // What a login is bound to, by how the certificate is signed; and how the server asks who we are.
    let signers = [
        ("P-256", Authority::new("P-256")),
        (
            "P-384",
            Authority::of(
                "P-384",
                KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
                |_| (),
            ),
        ),
        (
            "Ed25519",
            Authority::of(
                "Ed25519",
                KeyPair::generate_for(&PKCS_ED25519).unwrap(),
                |_| (),
            ),
        ),
    ];
    for (algorithm, signer) in &signers {
        show(&server, &pki.server(signer, &HERE, |_| ())).await;
        let methods: &[&str] = match *algorithm {
            "P-256" => &[
                "",
                "none",
                "password",
                "md5",
                "scram-sha-256",
                "none,scram-sha-256",
                "md5,password",
                "gss",
                "!none",
                "!password,!md5",
                "!scram-sha-256",
            ],
            _ => &[""],
        };
        let mut cases = Vec::new();
        for user in ["postgres", "clear", "md5", "scram"] {
            for binding in ["disable", "prefer", "require"] {
                for mode in ["disable", "prefer", "require"] {
                    for method in methods {
                        for password in ["word", "wrong"] {
                            let name = format!(
                                "signed={algorithm} user={user} binding={binding} mode={mode} \
                                 auth={method} password={password}"
                            );
                            let mut options = format!(
                                "host=127.0.0.1 user={user} password={password} sslmode={mode} \
                                 channel_binding={binding}"
                            );
                            match (*method, password) {
                                ("", _) => {}
                                (_, "wrong") => continue,
                                _ => options.push_str(&format!(" require_auth={method}")),
                            }
                            cases.push(case(name, &options));
                        }
                    }
                }
            }
        }
        tally.compare(&psql, cases).await;
    }

    // Versions of TLS.
    show(&server, &pki.server(&pki.root, &HERE, |_| ())).await;
    for (lowest, highest) in [("TLSv1", ""), ("TLSv1", "TLSv1.2"), ("TLSv1.3", "")] {
        let settings = [
            ("ssl_min_protocol_version", lowest),
            ("ssl_max_protocol_version", highest),
        ];
        set(&server, &settings).await;
        let versions = ["", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
        let mut cases = Vec::new();
        for min in versions {
            for max in versions {
                for mode in ["prefer", "require"] {
                    cases.push(case(
                        format!("server={lowest}-{highest} min={min} max={max} mode={mode}"),
                        &format!(
                            "host=localhost hostaddr=127.0.0.1 sslmode={mode} sslsni=0 \
                             ssl_min_protocol_version='{min}' ssl_max_protocol_version='{max}'"
                        ),
                    ));
                }
            }
        }
        tally.compare(&psql, cases).await;
    }
    // Handshakes that not everybody can do.
    let defaults = [
        ("ssl_min_protocol_version", "TLSv1.2"),
        ("ssl_max_protocol_version", ""),
        ("ssl_ciphers", "HIGH:MEDIUM:+3DES:!aNULL"),
        ("ssl_ecdh_curve", "prime256v1"),
    ];
    for offers in [
        ("ssl_ciphers", "ECDHE-ECDSA-AES128-SHA256"),
        ("ssl_ecdh_curve", "secp521r1"),
    ] {
        set(&server, &defaults).await;
        set(&server, &[("ssl_max_protocol_version", "TLSv1.2"), offers]).await;
        let modes = ["prefer", "require"].map(|mode| {
            case(
                format!("offers={} mode={mode}", offers.1),
                &format!("host=127.0.0.1 sslmode={mode}"),
            )
        });
        tally.compare(&psql, modes.into()).await;
    }
    set(&server, &defaults).await;
    if let Some(old) = shown.iter().find(|shows| shows.name == "version 1") {
        show(&server, &old.chain).await;
        for version in ["TLSv1.2", ""] {
            set(&server, &[("ssl_max_protocol_version", version)]).await;
            let modes = ["prefer", "require"].map(|mode| {
                case(
                    format!("version 1, by the server's {version} mode={mode}"),
                    &format!("host=127.0.0.1 sslmode={mode}"),
                )
            });
            let before = tally.same;
            tally.compare(&psql, modes.into()).await;
            assert_eq!(tally.same, before + 2, "{:?}", tally.faults);
        }
        show(&server, &pki.server(&pki.root, &HERE, |_| ())).await;
    }

    // Who we are: before the server asks, and when it does.
    let identities = identities(&pki, &files);
    for asks in [false, true] {
        if asks {
            fs::write(server.data_dir().join("ca.crt"), &pki.root.pem).unwrap();
            let revoked = pki.root.revoked(&[99], 2099);
            fs::write(server.data_dir().join("ca.crl"), revoked).unwrap();
            for name in ["ca.crt", "ca.crl"] {
                let path = server.data_dir().join(name);
                fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
            }
            let settings = [("ssl_ca_file", "ca.crt"), ("ssl_crl_file", "ca.crl")];
            set(&server, &settings).await;
        }
        let mut cases = Vec::new();
        for (identity, options) in &identities {
            for database in ["postgres", "known", "certified"] {
                for mode in ["disable", "prefer", "require"] {
                    for certificates in ["", "sslcertmode=disable", "sslcertmode=require"] {
                        cases.push(case(
                            format!(
                                "asks={asks} database={database} identity={identity} mode={mode} \
                                 {certificates}"
                            ),
                            &format!(
                                "host=127.0.0.1 dbname={database} sslmode={mode} {options} \
                                 {certificates}"
                            ),
                        ));
                    }
                }
            }
        }
        tally.compare(&psql, cases).await;
    }

    let stricter = tally.stricter.values().sum::<usize>() + tally.not_in_the_clear;
    let compared = tally.same + stricter + tally.faults.len();
    support::tell(&format!(
        "logins next to psql: {} of {compared} no laxer, {stricter} of them stricter; {} that psql does \
         not know",
        tally.same + stricter,
        tally.unknown
    ));
    assert!(
        tally.faults.is_empty(),
        "{} of {compared} differ:\n{}",
        tally.faults.len(),
        tally.faults.join("\n")
    );
    assert!(compared > 3500, "{compared}");
    assert!(tally.not_in_the_clear > 0);
    for (place, (parts, why)) in STRICTER.iter().enumerate() {
        let seen = tally.stricter.contains_key(&place);
        assert!(
            seen,
            "{parts:?}: psql does so, too, or there is no such case: {why}"
        );
    }
}

/// Certificates of ours, and the options that name them.
fn identities(pki: &Pki, files: &Files) -> Vec<(&'static str, String)> {
    let key = KeyPair::generate().unwrap();
    let pem = key.serialize_pem();
    let make = |issuer: &Authority, name: &str, change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        params.signed_by(&key, &issuer.issuer).unwrap().pem()
    };
    let good = files.write("good.crt", &make(&pki.root, "postgres", &|_| ()));
    let good_key = files.write("good.key", &pem);
    let both = |certificate: &str, key: &str| format!("sslcert={certificate} sslkey={key}");
    let signed = |file: &str, issuer: &Authority, name: &str, change: &dyn Fn(&mut _)| {
        both(&files.write(file, &make(issuer, name, change)), &good_key)
    };
    let open = files.write("open.key", &pem);
    fs::set_permissions(&open, Permissions::from_mode(0o644)).unwrap();
    let other = files.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
    let mut identities = vec![
        ("none", String::new()),
        ("good", both(&good, &good_key)),
        ("open key", both(&good, &open)),
        ("other key", both(&good, &other)),
        ("no key", both(&good, "/nonexistent")),
        ("no file", both("/nonexistent", &good_key)),
        (
            "expired",
            signed("expired.crt", &pki.root, "postgres", &|params| {
                params.not_after = date_time_ymd(2020, 1, 1);
            }),
        ),
        (
            "revoked",
            signed("revoked.crt", &pki.root, "postgres", &|params| {
                params.serial_number = Some(SerialNumber::from(99));
            }),
        ),
        (
            "of another",
            signed("another.crt", &pki.other, "postgres", &|_| ()),
        ),
        (
            "somebody else",
            signed("else.crt", &pki.root, "somebody", &|_| ()),
        ),
    ];
    let locked = "pkcs8 -topk8 -in good.key -passout pass:phrase -out locked.key";
    if openssl(files.0.path(), locked) {
        let path = files.0.path().join("locked.key");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let locked = both(&good, path.to_str().unwrap());
        identities.extend([
            ("locked", format!("{locked} sslpassword=phrase")),
            (
                "locked, wrong phrase",
                format!("{locked} sslpassword=other"),
            ),
            ("locked, no phrase", locked),
        ]);
    } else {
        support::tell("SKIPPED: no openssl to encrypt a key with");
    }
    identities
}

/// Takes TLS at once, as PostgreSQL 17 does, and hands what is in it to an older server.
fn terminate(server: &Server, pki: &Pki, protocols: &[&str]) -> u16 {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let certificate = pki.server(&pki.root, &HERE, |_| ());
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = pki.server_key.serialize_pem();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
    config.alpn_protocols = protocols.collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let behind = server.port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(socket).await else {
                    return;
                };
                let server = tokio::net::TcpStream::connect(("127.0.0.1", behind)).await;
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server.unwrap()).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_begins_at_once_where_that_is_asked_for() {
    let Some(server) = support::server() else {
        return;
    };
    let psql =
        Psql::find(server.binaries()).filter(|psql| !psql.unknown.contains(&"sslnegotiation"));
    let pki = Pki::new();
    let files = Files(tempfile::tempdir().unwrap());
    let ours = files.write("ours", &pki.root.pem);
    let others = files.write("others", &pki.other.pem);
    let pg17 = terminate(server, &pki, &["postgresql"]);
    let silent = terminate(server, &pki, &[]);
    let web = terminate(server, &pki, &["h2", "http/1.1"]);
    let late = "sslnegotiation=postgres";
    for (port, mode, roots, negotiation, said) in [
        (pg17, "require", "", "", None),
        (pg17, "verify-full", &*ours, "", None),
        (pg17, "verify-full", &*others, "", Some("UnknownIssuer")),
        (pg17, "require", "", late, Some("TLS")),
        (
            silent,
            "require",
            "",
            "",
            Some("does not say that PostgreSQL's"),
        ),
        (web, "require", "", "", Some("handshake failed")),
        (server.port(), "require", "", "", Some("handshake failed")),
    ] {
        let roots = match roots {
            "" => String::new(),
            roots => format!("sslrootcert={roots}"),
        };
        let conninfo = format!(
            "host=127.0.0.1 port={port} user=postgres dbname=postgres sslnegotiation=direct \
             sslmode={mode} {roots} {negotiation}"
        );
        let answer = super::ask(&conninfo, "select 'in'::text").await;
        match (&answer, said) {
            (Ok(answer), None) => assert_eq!(answer, "in", "{conninfo}"),
            (Err(error), Some(said)) => {
                let told = super::told(error);
                assert!(told.contains(said), "{conninfo}: {told}");
                if negotiation.is_empty() {
                    assert!(told.contains("PostgreSQL 17"), "{conninfo}: {told}");
                }
            }
            (answer, said) => panic!("{conninfo}: {answer:?}, expected {said:?}"),
        }
        if let Some(psql) = &psql {
            let output = psql.command(files.0.path(), &conninfo);
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.success(),
                said.is_none(),
                "{conninfo}: {told}"
            );
        }
    }

    // Requests to cancel go the same way.
    let url = format!(
        "host=127.0.0.1 port={pg17} user=postgres dbname=postgres sslnegotiation=direct \
         sslmode=require application_name=at_once"
    );
    let cluster = super::cluster(&[url], Environment::default());
    let sleeping = cluster.fan_out("select pg_sleep(60)").collect();
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(500), sleeping).await;
    assert!(given_up.is_err());
    super::none_active(server, "at_once").await;
    cluster.close().await;
}
