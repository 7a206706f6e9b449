//! Names in certificates, compared as OpenSSL does.

use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::{Tag, Tagged};
use x509_cert::name::Name;

/// A name without that by which OpenSSL tells no names apart: how values are encoded, the case of ASCII
/// letters, blanks around a value and more than one in a row. `x509_name_canon` in its x_name.c.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CanonicalName(Vec<Vec<(ObjectIdentifier, Value)>>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Text(String),
    /// Of a type that counts as it stands.
    Other(Tag, Vec<u8>),
}

impl CanonicalName {
    /// `None` where a value is not what its type says. OpenSSL does not read such a name, either.
    pub(super) fn of(name: &Name) -> Option<Self> {
        let attribute = |it: &AttributeTypeAndValue| Some((it.oid, Value::of(&it.value)?));
        let sets = name.iter_rdn().map(|set| {
            let mut set: Vec<_> = set.iter().map(attribute).collect::<Option<_>>()?;
            set.sort();
            Some(set)
        });
        sets.collect::<Option<_>>().map(Self)
    }
}

impl Value {
    fn of(value: &Any) -> Option<Self> {
        let bytes = value.value();
        let text = match value.tag() {
            Tag::Utf8String => str::from_utf8(bytes).ok()?.to_owned(),
            // Whatever their types allow, for OpenSSL they are Latin-1.
            Tag::PrintableString | Tag::TeletexString | Tag::Ia5String | Tag::VisibleString => {
                bytes.iter().copied().map(char::from).collect()
            }
            Tag::BmpString => {
                let (units, []) = bytes.as_chunks() else {
                    return None;
                };
                let units = units.iter().map(|unit| u16::from_be_bytes(*unit).into());
                units.map(char::from_u32).collect::<Option<_>>()?
            }
            other => return Some(Self::Other(other, bytes.to_owned())),
        };
        let is_blank = |letter: char| letter.is_ascii_whitespace() || letter == '\x0B';
        let words = text.split(is_blank).filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(str::to_ascii_lowercase).collect();
        Some(Self::Text(words.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use x509_cert::der::Decode;

    use std::slice;

    use super::*;

    const UTF8: u8 = 12;
    const NUMERIC: u8 = 18;
    const PRINTABLE: u8 = 19;
    const TELETEX: u8 = 20;
    const IA5: u8 = 22;
    const VISIBLE: u8 = 26;
    const BMP: u8 = 30;

    fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    /// A CN or another attribute, by the last number of its identifier.
    fn attribute(kind: u8, tag: u8, value: &[u8]) -> Vec<u8> {
        let kind = wrapped(6, &[0x55, 4, kind]);
        wrapped(0x30, &[kind, wrapped(tag, value)].concat())
    }

    fn name(sets: &[&[Vec<u8>]]) -> Option<CanonicalName> {
        let sets = sets.iter().map(|set| wrapped(0x31, &set.concat()));
        let der = wrapped(0x30, &sets.collect::<Vec<_>>().concat());
        CanonicalName::of(&Name::from_der(&der).unwrap())
    }

    fn common(tag: u8, value: &[u8]) -> Option<CanonicalName> {
        name(&[&[attribute(3, tag, value)]])
    }

    #[test]
    fn encodings_letters_and_blanks_are_as_openssl_has_them() {
        let reference = common(UTF8, b"the authority");
        assert!(reference.is_some());
        for (tag, value) in [
            (UTF8, &b"The Authority"[..]),
            (UTF8, b" the \t\x0B\r\n\x0C authority  "),
            (PRINTABLE, b"The  Authority"),
            (TELETEX, b"THE AUTHORITY"),
            (IA5, b"the authority "),
            (VISIBLE, b"the authority"),
            (BMP, b"\0T\0h\0e\0 \0 \0a\0u\0t\0h\0o\0r\0i\0t\0y"),
        ] {
            assert_eq!(common(tag, value), reference, "{tag} {value:?}");
        }
        for (tag, value) in [
            (UTF8, &b"theauthority"[..]),
            (UTF8, b"the auth ority"),
            (UTF8, b"the other"),
            (UTF8, b""),
            // Blanks beyond ASCII are letters.
            (UTF8, "the\u{A0}authority".as_bytes()),
            (NUMERIC, b"the authority"),
        ] {
            let other = common(tag, value);
            assert!(other.is_some());
            assert_ne!(other, reference, "{tag} {value:?}");
        }
        assert_eq!(common(TELETEX, b"\xC4"), common(UTF8, "\u{C4}".as_bytes()));
        assert_eq!(common(BMP, b"\0\xC4"), common(UTF8, "\u{C4}".as_bytes()));
        // Nor does it fold letters beyond ASCII.
        assert_ne!(
            common(UTF8, "\u{C4}".as_bytes()),
            common(UTF8, "\u{E4}".as_bytes())
        );
        assert_eq!(common(NUMERIC, b"1  2"), common(NUMERIC, b"1  2"));
        assert_ne!(common(NUMERIC, b"1  2"), common(NUMERIC, b"1 2"));
    }

    #[test]
    fn attributes_count_by_kind_and_place_and_those_of_a_set_by_kind() {
        let [common, unit] = [3, 11].map(|kind| attribute(kind, UTF8, b"the authority"));
        let printable = attribute(3, PRINTABLE, b"The Authority");
        let both = name(&[&[common.clone(), unit.clone()]]);
        assert_eq!(both, name(&[&[unit.clone(), printable]]));
        assert_ne!(
            both,
            name(&[slice::from_ref(&common), slice::from_ref(&unit)])
        );
        assert_ne!(
            name(&[slice::from_ref(&unit), slice::from_ref(&common)]),
            name(&[slice::from_ref(&common), slice::from_ref(&unit)])
        );
        assert_ne!(name(&[&[common]]), name(&[&[unit]]));
    }

    #[test]
    fn a_value_that_is_no_text_of_its_type_makes_no_name() {
        for (tag, value) in [
            (UTF8, &b"\xFF"[..]),
            (BMP, b"\0a\0"),
            // Half of a pair.
            (BMP, b"\xD8\x3D"),
        ] {
            assert_eq!(common(tag, value), None, "{tag} {value:?}");
        }
    }
}
