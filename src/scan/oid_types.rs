//! The types that a shard knows by OIDs, looked up in its catalog.
//!
//! All in one query, where the client library would ask for one type after the other, with prepared
//! statements that outlive our transaction behind a pooler.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::types::{Field, Kind, Type};

use crate::connect::Session;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::types::TypeModifiers;

/// Types by their OIDs.
#[derive(Debug, Default)]
pub(super) struct OidTypes {
    types: HashMap<u32, Type>,
    /// What `Type` has no room for.
    pub(super) modifiers: TypeModifiers,
}

impl OidTypes {
    /// Looks up these types, and those that they are made of.
    ///
    /// # Errors
    /// Those of the server.
    pub(super) async fn look_up(
        session: &mut Session,
        oids: impl Iterator<Item = u32>,
    ) -> Result<Self> {
        let unknown: BTreeSet<u32> = oids.filter(|oid| Type::from_oid(*oid).is_none()).collect();
        if unknown.is_empty() {
            return Ok(Self::default());
        }
        let rows = session.query(&query(&unknown)).await?;
        let entries = entries(&rows)?;
        let mut found = Self::default();
        for oid in unknown {
            found.add(oid, &entries, &mut Vec::new())?;
        }
        Ok(found)
    }

    /// The type of this OID.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] for one that was not looked up.
    pub(super) fn get(&self, oid: u32) -> Result<Type> {
        Type::from_oid(oid)
            .or_else(|| self.types.get(&oid).cloned())
            .ok_or_else(|| missing(oid))
    }

    /// Adds a type and what it is made of; `within` are the types that are made of this one.
    fn add(
        &mut self,
        oid: u32,
        entries: &HashMap<u32, Entry>,
        within: &mut Vec<u32>,
    ) -> Result<Type> {
        if let Ok(known) = self.get(oid) {
            return Ok(known);
        }
        // PostgreSQL lets no type be a part of itself (`CheckAttributeType`).
        let entry = entries.get(&oid).filter(|_| !within.contains(&oid));
        let entry = entry.ok_or_else(|| missing(oid))?;
        within.push(oid);
        let kind = match entry.kind {
            EntryKind::Enum => Kind::Enum(entry.members.iter().map(|it| it.name.clone()).collect()),
            EntryKind::Pseudo => Kind::Pseudo,
            EntryKind::Domain(base, modifier, dimensions) => {
                self.modifiers.domains.insert(oid, (modifier, dimensions));
                Kind::Domain(self.add(base, entries, within)?)
            }
            EntryKind::Array(element) => Kind::Array(self.add(element, entries, within)?),
            EntryKind::Range(element) => Kind::Range(self.add(element, entries, within)?),
            EntryKind::Composite => {
                let modifiers = entry.members.iter().map(|it| (it.modifier, it.dimensions));
                self.modifiers.composites.insert(oid, modifiers.collect());
                let fields = entry.members.iter().map(|member| {
                    let field_type = self.add(member.type_oid, entries, within)?;
                    Ok(Field::new(member.name.clone(), field_type))
                });
                Kind::Composite(fields.collect::<Result<_>>()?)
            }
            EntryKind::Other => Kind::Simple,
        };
        within.pop();
        let found = Type::new(entry.name.clone(), oid, kind, entry.schema.clone());
        self.types.insert(oid, found.clone());
        Ok(found)
    }
}

/// A type as the catalog has it.
struct Entry {
    schema: String,
    name: String,
    kind: EntryKind,
    /// The labels of an enum, the fields of a composite, in their order.
    members: Vec<Member>,
}

#[derive(Clone, Copy)]
enum EntryKind {
    Enum,
    Pseudo,
    /// The base type, its modifier and its dimensions.
    Domain(u32, i32, i32),
    Array(u32),
    Range(u32),
    Composite,
    Other,
}

#[derive(Default)]
struct Member {
    name: String,
    type_oid: u32,
    modifier: i32,
    dimensions: i32,
}

/// A row for each type, or for each label or field of it.
///
/// An array is what PostgreSQL calls a true one (`typlen` -1): types of fixed length with a
/// `typelem` have a binary form of their own.
fn query(oids: &BTreeSet<u32>) -> String {
    let oids: Vec<_> = oids.iter().map(u32::to_string).collect();
    format!(
        "WITH RECURSIVE known(oid) AS ( \
           SELECT w.oid FROM pg_catalog.pg_type w WHERE w.oid IN ({}) \
           UNION \
           SELECT p.oid FROM known k JOIN pg_catalog.pg_type t ON t.oid = k.oid \
           CROSS JOIN LATERAL ( \
             SELECT t.typelem WHERE t.typelem <> 0 \
             UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0 \
             UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid \
             UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a \
               WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 \
                 AND NOT a.attisdropped \
           ) AS p(oid) \
         ) \
         SELECT t.oid, n.nspname, t.typname, \
                CASE WHEN t.typtype = 'b' AND t.typelem <> 0 AND t.typlen = -1 THEN 'a' \
                     ELSE t.typtype END, \
                CASE t.typtype WHEN 'd' THEN t.typbasetype WHEN 'r' THEN r.rngsubtype \
                     ELSE t.typelem END, \
                t.typtypmod, t.typndims, \
                m.name, m.type, m.modifier, m.dimensions \
         FROM known k \
         JOIN pg_catalog.pg_type t ON t.oid = k.oid \
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
         LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid \
         LEFT JOIN LATERAL ( \
           SELECT a.attname, a.atttypid, a.atttypmod, a.attndims, a.attnum::pg_catalog.float8 \
             FROM pg_catalog.pg_attribute a \
            WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 \
              AND NOT a.attisdropped \
           UNION ALL \
           SELECT e.enumlabel, 0, -1, 0, e.enumsortorder::pg_catalog.float8 \
             FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid \
         ) AS m(name, type, modifier, dimensions, position) ON true \
         ORDER BY t.oid, m.position",
        oids.join(", ")
    )
}

fn entries(rows: &[Vec<Option<String>>]) -> Result<HashMap<u32, Entry>> {
    let mut entries = HashMap::new();
    for row in rows {
        let (oid, entry, member) = read(row).ok_or_else(|| {
            Error::new(ErrorKind::Decode, "unexpected answer of the catalog")
                .with_phase(Phase::Describe)
        })?;
        let entry = entries.entry(oid).or_insert(entry);
        entry.members.extend(member);
    }
    Ok(entries)
}

/// The OID, the type without its members, and the member that the row is about.
fn read(row: &[Option<String>]) -> Option<(u32, Entry, Option<Member>)> {
    let [
        oid,
        schema,
        name,
        kind,
        part,
        modifier,
        dimensions,
        member @ ..,
    ] = row
    else {
        return None;
    };
    let part = part.as_ref()?.parse().ok()?;
    let kind = match kind.as_deref()? {
        "e" => EntryKind::Enum,
        "p" => EntryKind::Pseudo,
        "d" => EntryKind::Domain(
            part,
            modifier.as_ref()?.parse().ok()?,
            dimensions.as_ref()?.parse().ok()?,
        ),
        "a" => EntryKind::Array(part),
        "r" => EntryKind::Range(part),
        "c" => EntryKind::Composite,
        _ => EntryKind::Other,
    };
    let entry = Entry {
        schema: schema.clone()?,
        name: name.clone()?,
        kind,
        members: Vec::new(),
    };
    let member = match member {
        [None, ..] => None,
        [Some(name), Some(type_oid), Some(modifier), Some(dimensions)] => Some(Member {
            name: name.clone(),
            type_oid: type_oid.parse().ok()?,
            modifier: modifier.parse().ok()?,
            dimensions: dimensions.parse().ok()?,
        }),
        _ => return None,
    };
    Some((oid.as_ref()?.parse().ok()?, entry, member))
}

fn missing(oid: u32) -> Error {
    Error::new(
        ErrorKind::Decode,
        format!("the catalog has no type of the OID {oid}"),
    )
    .with_phase(Phase::Describe)
    .with_hint("was the type dropped meanwhile? run the query again")
}
