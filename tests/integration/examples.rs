//! The examples do what they say.

use merganser::arrow::ipc::reader::StreamReader;

use crate::texts::texts_of;

#[allow(dead_code, reason = "its main is not called here")]
#[path = "../../examples/decode_copy.rs"]
mod decode_copy;

#[test]
fn decode_copy_writes_what_it_reads() {
    let data = include_bytes!("../../testdata/copy/mixed.copy");
    let types = ["int8", "text", "bool", "int8[]"].map(str::to_owned);
    let mut output = Vec::new();
    let rows = decode_copy::run(&types, &data[..], &mut output).unwrap();
    assert_eq!(rows, 100);
    let batches = StreamReader::try_new(&output[..], None).unwrap();
    let texts: Vec<_> = batches
        .flat_map(|batch| texts_of(&batch.unwrap()))
        .collect();
    assert_eq!(texts.len(), 100);
    let row = ["4", "eeee", "t", "{4,NULL,-4}"].map(|text| Some(text.to_owned()));
    assert_eq!(texts[4], row);
    let error = decode_copy::run(&types, &data[..data.len() - 1], &mut output).unwrap_err();
    assert!(error.to_string().contains("without the trailer"), "{error}");
}
