//! What a certificate says, where rustls does not ask or answers less strictly than OpenSSL does for
//! libpq: names in the CN alone, which roots are authorities, and what logins are bound to.

use ring::digest::{self, SHA256, SHA384, SHA512};
use rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::{TbsCertificate, Version};

use super::name::CanonicalName;

/// A certificate that has been read; what it says is not proven by that.
#[derive(Debug)]
pub(super) struct Certificate {
    read: x509_cert::Certificate,
    subject: CanonicalName,
    issuer: CanonicalName,
}

impl Certificate {
    /// `None` for one that is not in DER, or against RFC 5280.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let read = x509_cert::Certificate::from_der(der).ok()?;
        let tbs = read.tbs_certificate();
        Some(Self {
            subject: CanonicalName::of(tbs.subject())?,
            issuer: CanonicalName::of(tbs.issuer())?,
            read,
        })
    }

    fn tbs(&self) -> &TbsCertificate {
        self.read.tbs_certificate()
    }

    /// Whether it has the name of its authority: OpenSSL's `EXFLAG_SI`.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether it says that it was signed with its own key: OpenSSL's `EXFLAG_SS`.
    pub(super) fn is_self_signed(&self) -> bool {
        let tbs = self.tbs();
        let (Ok(signer), Ok(own)) = (
            tbs.get_extension::<AuthorityKeyIdentifier>(),
            tbs.get_extension::<SubjectKeyIdentifier>(),
        ) else {
            return false;
        };
        let has_own_key = match (signer.and_then(|(_, it)| it.key_identifier), own) {
            (Some(signer), Some((_, own))) => signer == own.0,
            _ => true,
        };
        has_own_key && self.is_self_issued()
    }

    /// Whether a server may show it as its own: `check_purpose_ssl_server` in OpenSSL's v3_purp.c.
    pub(super) fn may_serve(&self) -> bool {
        let tbs = self.tbs();
        let (Ok(usage), Ok(purposes)) = (
            tbs.get_extension::<KeyUsage>(),
            tbs.get_extension::<ExtendedKeyUsage>(),
        ) else {
            return false;
        };
        let for_servers = purposes.is_none_or(|(_, purposes)| purposes.0.contains(&SERVER_AUTH));
        for_servers
            && usage.is_none_or(|(_, usage)| {
                usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
            })
    }

    pub(super) fn is_version_1(&self) -> bool {
        self.tbs().version() == Version::V1
    }

    pub(super) fn is_valid_at(&self, now: UnixTime) -> bool {
        let validity = self.tbs().validity();
        let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
        (seconds(&validity.not_before)..=seconds(&validity.not_after)).contains(&now.as_secs())
    }

    /// Whether OpenSSL takes it for an authority of servers: `check_ca` and `check_purpose_ssl_server` in
    /// its v3_purp.c. What cannot be read is no permission.
    pub(super) fn is_authority(&self) -> bool {
        let tbs = self.tbs();
        let (Ok(usage), Ok(constraints), Ok(purposes)) = (
            tbs.get_extension::<KeyUsage>(),
            tbs.get_extension::<BasicConstraints>(),
            tbs.get_extension::<ExtendedKeyUsage>(),
        ) else {
            return false;
        };
        let for_servers = purposes.is_none_or(|(_, purposes)| purposes.0.contains(&SERVER_AUTH));
        let signs = match (&usage, constraints) {
            (Some((_, usage)), _) if !usage.key_cert_sign() => false,
            (_, Some((_, constraints))) => constraints.ca,
            (usage, None) => self.is_version_1() || usage.is_some(),
        };
        for_servers && signs
    }

    /// The most authorities below this one, if it says so.
    pub(super) fn path_length(&self) -> Option<u8> {
        let constraints = self.tbs().get_extension::<BasicConstraints>();
        constraints.ok()??.1.path_len_constraint
    }

    /// Whether it limits the names of the certificates below it, as far as can be told.
    pub(super) fn constrains_names(&self) -> bool {
        !matches!(self.tbs().get_extension::<NameConstraints>(), Ok(None))
    }

    /// Whether what this authority says of names, if it does, allows the host that is the CN of a server's
    /// certificate: rustls holds alternative names against it alone, and OpenSSL this one as well
    /// (`NAME_CONSTRAINTS_check_CN` in its v3_ncons.c).
    pub(super) fn allows_host_of(&self, server: &Self) -> bool {
        let Some(host) = server.host_in_common_name() else {
            return true;
        };
        let covers = |tree: &GeneralSubtree| covers(tree, host);
        self.constraints_hold(|permitted, excluded| {
            let mut permitted = permitted.iter().filter_map(covers).peekable();
            (permitted.peek().is_none() || permitted.any(|is_covered| is_covered))
                && !excluded
                    .iter()
                    .filter_map(covers)
                    .any(|is_covered| is_covered)
        })
    }

    /// The same of an e-mail address in the subject of a certificate; which one it is, is not looked at.
    pub(super) fn allows_address_of(&self, below: &Self) -> bool {
        let mut subject = below.tbs().subject().iter();
        let is_of_addresses =
            |tree: &GeneralSubtree| matches!(tree.base, GeneralName::Rfc822Name(_));
        !subject.any(|attribute| attribute.oid == EMAIL_ADDRESS)
            || self.constraints_hold(|permitted, excluded| {
                !permitted.iter().chain(excluded).any(is_of_addresses)
            })
    }

    /// Asks what it permits and what it excludes. What cannot be read is no permission.
    fn constraints_hold(
        &self,
        hold: impl FnOnce(&[GeneralSubtree], &[GeneralSubtree]) -> bool,
    ) -> bool {
        match self.tbs().get_extension::<NameConstraints>() {
            Ok(None) => true,
            Ok(Some((_, constraints))) => hold(
                &constraints.permitted_subtrees.unwrap_or_default(),
                &constraints.excluded_subtrees.unwrap_or_default(),
            ),
            Err(_) => false,
        }
    }

    /// The CN, where it may be the name of a host and no alternative name is one. What OpenSSL does not
    /// take for a name, libpq may: one without a dot, and a wildcard.
    fn host_in_common_name(&self) -> Option<&[u8]> {
        let names = self.tbs().get_extension::<SubjectAltName>().ok()?;
        let is_host = |name: &GeneralName| matches!(name, GeneralName::DnsName(_));
        if names.is_some_and(|(_, names)| names.0.iter().any(is_host)) {
            return None;
        }
        let is_of_hosts = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_*".contains(byte);
        self.common_name()
            .filter(|name| name.iter().all(is_of_hosts))
    }

    fn common_name(&self) -> Option<&[u8]> {
        let mut attributes = self.tbs().subject().iter();
        let name = attributes.find(|attribute| attribute.oid == COMMON_NAME)?;
        Some(name.value.value())
    }

    pub(super) fn is_issued_by(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject
    }

    /// Its name.
    pub(super) fn subject(&self) -> &CanonicalName {
        &self.subject
    }

    /// The name of its authority.
    pub(super) fn issuer(&self) -> &CanonicalName {
        &self.issuer
    }

    /// Whether it may sign lists of what it has revoked: `check_crl` in OpenSSL's x509_vfy.c.
    pub(super) fn may_revoke(&self) -> bool {
        let usage = self.tbs().get_extension::<KeyUsage>();
        usage.is_ok_and(|usage| usage.is_none_or(|(_, usage)| usage.crl_sign()))
    }

    /// Whether it is in a list of what its authority has revoked.
    pub(super) fn is_revoked_by(&self, list: &CertificateList<Rfc5280>) -> bool {
        let list = &list.tbs_cert_list;
        let mut revoked = list.revoked_certificates.iter().flatten();
        CanonicalName::of(&list.issuer).is_none_or(|issuer| issuer == self.issuer)
            && revoked.any(|revoked| &revoked.serial_number == self.tbs().serial_number())
    }

    /// Its key.
    pub(super) fn key(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let key = self.tbs().subject_public_key_info().to_der().ok()?;
        Some(key.into())
    }

    /// Whether its key has made a signature of a message, by this algorithm.
    pub(super) fn has_signed(
        &self,
        message: &[u8],
        signature: &[u8],
        algorithm: &dyn SignatureVerificationAlgorithm,
    ) -> bool {
        let key = self.tbs().subject_public_key_info();
        let Ok(of_key) = key.algorithm.to_der() else {
            return false;
        };
        let is_its = AnyRef::from_der(&of_key)
            .is_ok_and(|it| it.value() == algorithm.public_key_alg_id().as_ref());
        let bits = key.subject_public_key.as_bytes();
        is_its
            && bits.is_some_and(|bits| algorithm.verify_signature(bits, message, signature).is_ok())
    }

    /// Whether the name of this host is in the CN, and there is no other name of its kind that would have
    /// to be it. The rules of libpq: `fe-secure-openssl.c` and `fe-secure-common.c`.
    pub(super) fn common_name_is(&self, host: &ServerName<'_>) -> bool {
        let Ok(names) = self.tbs().get_extension::<SubjectAltName>() else {
            return false;
        };
        let host_is_address = matches!(host, ServerName::IpAddress(_));
        let is_of_its_kind = |name: &GeneralName| match name {
            GeneralName::DnsName(_) => !host_is_address,
            GeneralName::IpAddress(_) => host_is_address,
            _ => false,
        };
        if names.is_some_and(|(_, names)| names.0.iter().any(is_of_its_kind)) {
            return false;
        }
        let name = self.common_name();
        name.is_some_and(|name| matches(name, host.to_str().as_bytes()))
    }
}

/// Whether a host is in a subtree of names of hosts; `None` for one of other names. `nc_dns` in OpenSSL's
/// v3_ncons.c.
fn covers(tree: &GeneralSubtree, host: &[u8]) -> Option<bool> {
    let GeneralName::DnsName(base) = &tree.base else {
        return None;
    };
    let base = base.as_bytes();
    let Some(before) = host.len().checked_sub(base.len()) else {
        return Some(false);
    };
    let (label, rest) = host.split_at(before);
    let is_whole = base.is_empty() || base.starts_with(b".") || label.last() == Some(&b'.');
    Some(rest.eq_ignore_ascii_case(base) && (label.is_empty() || is_whole))
}

/// A name of a certificate, which may begin with `*.` for one more label, and that of a host. A name with a
/// NUL is that of no host, since no host's has one.
fn matches(name: &[u8], host: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(suffix) = name.strip_prefix(b"*").filter(|suffix| suffix.len() > 1) else {
        return false;
    };
    let Some(label) = host.len().checked_sub(suffix.len()) else {
        return false;
    };
    let (label, rest) = host.split_at(label);
    suffix.starts_with(b".")
        && rest.eq_ignore_ascii_case(suffix)
        && !label.is_empty()
        && !label.contains(&b'.')
}

/// What a login over a connection with this certificate is bound to: `tls-server-end-point` of RFC 5929, a
/// hash of it with the algorithm of its signature, or a better one. `None` where no such is defined.
pub(super) fn end_point(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = Certificate::parse(der)?;
    let algorithm = certificate.read.signature_algorithm();
    let hash = match algorithm.oid.to_string().as_str() {
        // With SHA-256, or with MD5 or SHA-1, in whose place it stands: RSA, ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => &SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &SHA512,
        // RSA-PSS names its hash among its parameters, SHA-1 where it names none.
        "1.2.840.113549.1.1.10" => {
            let parameters = algorithm.parameters.as_ref()?.to_der().ok()?;
            let names = |oid: &str| {
                let oid = ObjectIdentifier::new(oid).ok()?.to_der().ok()?;
                let mut windows = parameters.windows(oid.len());
                windows.any(|window| window == oid).then_some(())
            };
            match (
                names("2.16.840.1.101.3.4.2.2"),
                names("2.16.840.1.101.3.4.2.3"),
            ) {
                (None, None) => &SHA256,
                (Some(()), None) => &SHA384,
                (None, Some(())) => &SHA512,
                // One for the message and one for the mask.
                (Some(()), Some(())) => return None,
            }
        }
        // Ed25519 and whatever else comes.
        _ => return None,
    };
    Some(digest::digest(hash, der).as_ref().to_vec())
}

/// What fuzzing begins with.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    let der = CertificateDer::from(bytes);
    let _ = end_point(&der);
    if let Some(certificate) = Certificate::parse(&der) {
        let host = ServerName::try_from("db.example").unwrap();
        let _ = (
            certificate.common_name_is(&host),
            certificate.is_authority(),
            certificate.is_self_signed(),
            certificate.is_valid_at(UnixTime::now()),
            certificate.path_length(),
            certificate.constrains_names(),
            certificate.allows_host_of(&certificate),
            certificate.allows_address_of(&certificate),
            certificate.subject() == certificate.issuer(),
            certificate.may_revoke(),
            certificate.key(),
        );
    }
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const EMAIL_ADDRESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints as Basic, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };

    use super::*;

    fn make(
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn parsed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        Certificate::parse(&make(names, change)).unwrap()
    }

    #[test]
    fn a_name_in_the_cn_counts_where_no_other_of_its_kind_is_there() {
        let named = |names: &[&str], common: &str, host: &str| {
            let certificate = parsed(names, |params| {
                params.distinguished_name.push(DnType::CommonName, common);
            });
            certificate.common_name_is(&ServerName::try_from(host.to_owned()).unwrap())
        };
        assert!(named(&[], "db.example", "db.example"));
        assert!(named(&[], "DB.Example", "db.example"));
        assert!(named(&[], "*.example", "db.example"));
        assert!(named(&[], "10.0.0.1", "10.0.0.1"));
        // Names of the other kind say nothing.
        assert!(named(&["10.0.0.2"], "db.example", "db.example"));
        assert!(named(&["db.example"], "10.0.0.1", "10.0.0.1"));
        for (names, common, host) in [
            (&["other.example"][..], "db.example", "db.example"),
            (&["10.0.0.2"], "10.0.0.1", "10.0.0.1"),
            (&[], "db.example", "example"),
            (&[], "db.example", "db.example.org"),
            (&[], "*.example", "a.db.example"),
            (&[], "*.example", "example"),
            (&[], "*", "example"),
            (&[], "d*.example", "db.example"),
            (&[], "db.example\0.org", "db.example"),
            (&[], "", "db.example"),
        ] {
            assert!(!named(names, common, host), "{names:?} {common:?} {host:?}");
        }
        let host = ServerName::try_from("db.example").unwrap();
        assert!(!parsed(&[], |_| ()).common_name_is(&host), "rcgen's own CN");
    }

    #[test]
    fn a_host_in_the_cn_is_held_against_what_an_authority_says_of_names() {
        use rcgen::{GeneralSubtree as Subtree, NameConstraints as Constraints};
        let authority = |permitted: &[&str], excluded: &[&str]| {
            let trees = |names: &[&str]| {
                let names = names
                    .iter()
                    .map(|name| Subtree::DnsName((*name).to_owned()));
                names.collect()
            };
            parsed(&[], |params| {
                params.is_ca = IsCa::Ca(Basic::Unconstrained);
                params.name_constraints = Some(Constraints {
                    permitted_subtrees: trees(permitted),
                    excluded_subtrees: trees(excluded),
                });
            })
        };
        let server = |names: &[&str], common: &str| {
            parsed(names, |params| {
                params.distinguished_name.push(DnType::CommonName, common);
            })
        };
        let none: &[&str] = &[];
        for (permitted, excluded, names, common, is_allowed) in [
            (&["example"][..], none, none, "example", true),
            (&["example"], none, none, "db.EXAMPLE", true),
            (&["example"], none, none, "*.example", true),
            (&["a", "example"], none, none, "db.example", true),
            (&[".example"], none, none, "db.example", true),
            (&[".example"], none, none, "example", false),
            (&["example"], none, none, "badexample", false),
            (&["example"], none, none, "localhost", false),
            (&["example"], none, none, "10.0.0.1", false),
            // No name of a host.
            (&["example"], none, none, "the server", true),
            // Another is, which rustls looks at.
            (&["example"], none, &["other"], "other", true),
            (&["example"], none, &["10.0.0.1"], "other", false),
            (none, &["example"], none, "db.example", false),
            (none, &["example"], none, "badexample", true),
            (&["example"], &["b.example"], none, "a.b.example", false),
            (&["example"], &["b.example"], none, "a.example", true),
        ] {
            let server = server(names, common);
            let authority = authority(permitted, excluded);
            assert!(authority.constrains_names());
            assert_eq!(
                authority.allows_host_of(&server),
                is_allowed,
                "{permitted:?} {excluded:?} {names:?} {common}"
            );
            assert!(authority.allows_address_of(&server));
            assert!(server.allows_host_of(&server));
        }
    }

    #[test]
    fn not_all_that_is_self_signed_is_an_authority() {
        let is_authority = |is_ca: IsCa, usages: &[KeyUsagePurpose], purposes: &[_]| {
            let certificate = parsed(&[], |params| {
                params.is_ca = is_ca;
                params.key_usages = usages.to_vec();
                params.extended_key_usages = purposes.to_vec();
            });
            assert!(certificate.is_self_signed());
            certificate.is_authority()
        };
        let ca = || IsCa::Ca(Basic::Unconstrained);
        let servers = [ExtendedKeyUsagePurpose::ServerAuth];
        assert!(is_authority(ca(), &[], &[]));
        assert!(is_authority(
            ca(),
            &[KeyUsagePurpose::KeyCertSign],
            &servers
        ));
        assert!(!is_authority(ca(), &[], &[ExtendedKeyUsagePurpose::Any]));
        assert!(!is_authority(ca(), &[KeyUsagePurpose::CrlSign], &[]));
        let clients = [ExtendedKeyUsagePurpose::ClientAuth];
        assert!(!is_authority(ca(), &[], &clients));
        assert!(!is_authority(IsCa::NoCa, &[], &[]));
        assert!(!is_authority(IsCa::ExplicitNoCa, &[], &[]));

        let limited = parsed(&[], |params| params.is_ca = IsCa::Ca(Basic::Constrained(1)));
        assert_eq!(limited.path_length(), Some(1));
        assert!(!limited.constrains_names());
    }

    #[test]
    fn dates_are_those_of_the_certificate() {
        let certificate = parsed(&[], |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        });
        let at = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        // 2020-01-01 and 2021-01-01.
        assert!(!certificate.is_valid_at(at(1_577_836_799)));
        assert!(certificate.is_valid_at(at(1_577_836_800)));
        assert!(certificate.is_valid_at(at(1_609_459_200)));
        assert!(!certificate.is_valid_at(at(1_609_459_201)));
    }

    #[test]
    fn a_login_is_bound_to_the_hash_of_the_signatures_algorithm() {
        for (algorithm, length) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&PKCS_ECDSA_P384_SHA384, Some(48)),
            (&PKCS_ED25519, None),
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let certificate = CertificateParams::default().self_signed(&key).unwrap();
            let found = end_point(certificate.der()).map(|hash| hash.len());
            assert_eq!(found, length, "{algorithm:?}");
        }
        assert_eq!(end_point(&CertificateDer::from(vec![0x30, 0x03, 1])), None);
    }

    #[test]
    fn a_server_shows_a_certificate_for_servers() {
        let serves = |usages: &[KeyUsagePurpose], purposes: &[ExtendedKeyUsagePurpose]| {
            let certificate = parsed(&["db.example"], |params| {
                params.key_usages = usages.to_vec();
                params.extended_key_usages = purposes.to_vec();
            });
            certificate.may_serve()
        };
        let servers = [ExtendedKeyUsagePurpose::ServerAuth];
        assert!(serves(&[], &[]));
        assert!(serves(&[KeyUsagePurpose::DigitalSignature], &servers));
        assert!(serves(&[KeyUsagePurpose::KeyEncipherment], &[]));
        assert!(!serves(&[KeyUsagePurpose::KeyCertSign], &[]));
        assert!(!serves(&[KeyUsagePurpose::ContentCommitment], &servers));
        assert!(!serves(&[], &[ExtendedKeyUsagePurpose::ClientAuth]));
    }
}
