//! What `GetInfo` tells.

use std::collections::HashSet;
use std::sync::Arc;

use adbc_core::error::Result;
use adbc_core::options::{AdbcVersion, InfoCode};
use adbc_core::schemas::GET_INFO_SCHEMA;
use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, UInt32Array, UnionArray,
    new_empty_array,
};
use arrow::datatypes::DataType;
use merganser::arrow;

/// A value, as one of the members of the union that Arrow calls `info_value`.
enum Value {
    Text(String),
    Truth(bool),
    Number(i64),
}

/// The rows that are asked for, all without `codes`; codes that are not known have none.
///
/// `server_version` asks the servers, and is called if their version is wanted.
pub(crate) fn batch(
    codes: Option<&HashSet<InfoCode>>,
    server_version: impl FnOnce() -> Result<String>,
) -> Result<RecordBatch> {
    let is_wanted = |code: InfoCode| codes.is_none_or(|codes| codes.contains(&code));
    let text = |text: &str| Value::Text(text.to_owned());
    let adbc_version = i64::from(i32::from(AdbcVersion::V110));
    let mut rows = vec![
        // Whose SQL it is: what speaks to PostgreSQL can speak to its shards.
        (InfoCode::VendorName, text("PostgreSQL")),
        (InfoCode::VendorSql, Value::Truth(true)),
        (InfoCode::VendorSubstrait, Value::Truth(false)),
        (InfoCode::DriverName, text("ADBC Merganser Driver")),
        (InfoCode::DriverVersion, text(env!("CARGO_PKG_VERSION"))),
        (InfoCode::DriverArrowVersion, text(arrow::ARROW_VERSION)),
        (InfoCode::DriverAdbcVersion, Value::Number(adbc_version)),
    ];
    rows.retain(|(code, _)| is_wanted(*code));
    if is_wanted(InfoCode::VendorVersion) {
        rows.push((InfoCode::VendorVersion, Value::Text(server_version()?)));
    }
    union(rows)
}

fn union(rows: Vec<(InfoCode, Value)>) -> Result<RecordBatch> {
    let schema = GET_INFO_SCHEMA.clone();
    let (mut texts, mut truths, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut codes, mut members, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    for (code, value) in rows {
        codes.push(u32::from(&code));
        let (member, length) = match value {
            Value::Text(text) => {
                texts.push(text);
                (0, texts.len())
            }
            Value::Truth(truth) => {
                truths.push(truth);
                (1, truths.len())
            }
            Value::Number(number) => {
                numbers.push(number);
                (2, numbers.len())
            }
        };
        members.push(member);
        // A few rows.
        offsets.push(length as i32 - 1);
    }
    let DataType::Union(fields, _) = schema.field(1).data_type() else {
        unreachable!("the schema of ADBC has a union here");
    };
    let children = fields.iter().map(|(member, field)| -> ArrayRef {
        match member {
            0 => Arc::new(StringArray::from_iter_values(&texts)),
            1 => Arc::new(BooleanArray::from(truths.clone())),
            2 => Arc::new(Int64Array::from(numbers.clone())),
            _ => new_empty_array(field.data_type()),
        }
    });
    let values = UnionArray::try_new(
        fields.clone(),
        members.into(),
        Some(offsets.into()),
        children.collect(),
    )?;
    let columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(codes)), Arc::new(values)];
    Ok(RecordBatch::try_new(schema, columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_are_asked_only_for_their_version() {
        let asked: HashSet<_> = [InfoCode::VendorSql, InfoCode::Other(12_345)].into();
        let batch = batch(Some(&asked), || panic!("not asked for")).unwrap();
        assert_eq!(batch.num_rows(), 1);
    }
}
