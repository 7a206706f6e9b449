//! The decoder for each type: the one place of this folder where a type is looked at.
//!
//! Decoders of lists, structs and ranges are handed those of their parts, so that none of them has
//! to know this file.

use super::array::ArrayDecoder;
use super::{
    binary, boolean, composite, decimal, enumeration, hstore, list, network, primitive, range,
    string, temporal, vector,
};
use crate::types::{PgType, Shape, Unrepresentable};

/// The decoder for a type; `policy` says what becomes of values that Arrow cannot hold.
pub(crate) fn make_decoder(pg_type: &PgType, policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    let views = pg_type.views;
    match &pg_type.shape {
        Shape::Bool => Box::new(boolean::BooleanDecoder::new(policy)),
        Shape::Int2 => primitive::int2(policy),
        Shape::Int4 => primitive::int4(policy),
        Shape::Int8 => primitive::int8(policy),
        Shape::Oid => primitive::oid(policy),
        Shape::Xid8 => primitive::xid8(policy),
        Shape::Float4 => primitive::float4(policy),
        Shape::Float8 => primitive::float8(policy),
        // Options were applied before; what they would choose by default stands here.
        Shape::Numeric => decimal::decimal(38, 20, policy),
        Shape::Decimal { precision, scale } => decimal::decimal(*precision, *scale, policy),
        Shape::NumericFloat => decimal::float(policy),
        Shape::NumericText { finite: false } => {
            string::rendered(views, policy, decimal::write_text)
        }
        Shape::NumericText { finite: true } => {
            string::rendered(views, policy, decimal::write_finite)
        }
        Shape::Text { version, .. } => string::text(views, policy, *version),
        Shape::Cast => string::text(views, policy, None),
        Shape::Char => string::rendered(views, policy, string::write_char),
        Shape::Bit => string::rendered(views, policy, string::write_bits),
        Shape::TimeTz => string::rendered(views, policy, temporal::write_timetz),
        Shape::Inet { cidr: false } => string::rendered(views, policy, network::write_inet),
        Shape::Inet { cidr: true } => string::rendered(views, policy, network::write_cidr),
        Shape::MacAddr => string::rendered(views, policy, network::write_macaddr),
        Shape::Lsn => string::rendered(views, policy, string::write_lsn),
        Shape::Bytea | Shape::Geometry => binary::bytes(views, policy),
        Shape::Uuid => Box::new(binary::UuidDecoder::new(policy)),
        Shape::Date => temporal::date(policy),
        Shape::Time => temporal::time(policy),
        Shape::Timestamp { utc } => temporal::timestamp(*utc, policy),
        Shape::Interval => temporal::interval(policy),
        Shape::Enum { labels } => Box::new(enumeration::EnumDecoder::new(labels, policy)),
        Shape::Array {
            element,
            dimensions,
            lower_bound,
        } => Box::new(list::ListDecoder::new(
            element,
            make_decoder(element, policy),
            *dimensions,
            *lower_bound,
            policy,
        )),
        Shape::Composite { fields } => {
            let children = fields
                .iter()
                .map(|field| make_decoder(&field.pg_type, policy));
            Box::new(composite::StructDecoder::new(
                fields,
                children.collect(),
                policy,
            ))
        }
        Shape::Range { element } => Box::new(range_decoder(element, policy)),
        Shape::Multirange { element } => Box::new(range::MultirangeDecoder::new(
            element,
            range_decoder(element, policy),
            policy,
        )),
        Shape::Hstore => Box::new(hstore::HstoreDecoder::new(policy)),
        Shape::Vector { dimensions } => Box::new(vector::VectorDecoder::new(*dimensions, policy)),
    }
}

fn range_decoder(element: &PgType, policy: Unrepresentable) -> range::RangeDecoder {
    // A NULL bound means unbounded. A bound that Arrow cannot hold, such as the date infinity, must
    // not become one, so it is an error whatever the option for other columns.
    let bound = || make_decoder(element, Unrepresentable::Error);
    range::RangeDecoder::new(element, [bound(), bound()], policy)
}
