//! Python's driver manager, and the libraries that go through it: `tests/python`, run over servers of
//! these tests.
//!
//! The Python that has what `tests/python/requirements.txt` names is `MERGANSER_PYTHON`, or `python3`.
//! Without them the tests are skipped, unless `MERGANSER_PYTHON` is set: then that is a failure.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::{Scene, library, support};

#[test]
fn python_s_driver_manager_takes_the_driver() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let chosen = env::var_os("MERGANSER_PYTHON").filter(|python| !python.is_empty());
    let python = chosen.clone().unwrap_or_else(|| "python3".into());
    let imports = "import adbc_driver_manager, duckdb, pandas, polars, pyarrow, pytest";
    let found = Command::new(&python).args(["-c", imports]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        let requirements = folder.join("requirements.txt");
        let missing = format!(
            "{} has not all of {}",
            python.display(),
            requirements.display()
        );
        assert!(chosen.is_none(), "{missing}");
        support::tell(&format!(
            "SKIPPED: {missing}; set MERGANSER_PYTHON to one that has"
        ));
        return;
    }
    let Some(scene) = Scene::numbered(&[1000, 2000]) else {
        return;
    };
    let output = Command::new(&python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(&folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MERGANSER_ADBC_LIBRARY", library())
        .env(
            "MERGANSER_ADBC_TOPOLOGY",
            scene.folder.path().join("merganser.toml"),
        )
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
