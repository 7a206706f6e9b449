//! Makes the seeds of `decode` out of `testdata/copy`: `cargo run --example seed`, in this folder.

use std::error::Error;
use std::fs;
use std::path::Path;

use merganser_fuzz::head;

fn main() -> Result<(), Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = here.join("corpus/decode");
    fs::create_dir_all(&corpus)?;
    for entry in fs::read_dir(here.join("../testdata/copy"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "copy") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default();
        let rows: serde_json::Value =
            serde_json::from_slice(&fs::read(path.with_extension("json"))?)?;
        let columns = rows["columns"].as_array().ok_or("no columns")?;
        let columns: Vec<_> = columns
            .iter()
            .filter_map(|column| column.as_str())
            .collect();
        let head = head(&columns).ok_or_else(|| format!("{}: add its types", path.display()))?;
        fs::write(corpus.join(name), [head, fs::read(&path)?].concat())?;
    }
    Ok(())
}
