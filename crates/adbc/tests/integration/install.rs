//! The program that installs the driver.

use std::path::Path;
use std::process::{Command, Output};

use adbc_core::options::AdbcVersion;
use adbc_core::{Driver as _, LOAD_FLAG_DEFAULT};
use adbc_driver_manager::ManagedDriver;

use crate::{error, library};

fn run(arguments: &[&str], home: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_merganser-adbc"))
        .args(arguments)
        .env("HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .output()
        .unwrap()
}

/// Loads the driver by the manifest in a folder, and asks it for what it cannot give.
fn assert_is_found(folder: &Path) {
    let paths = Some(vec![folder.to_path_buf()]);
    let version = AdbcVersion::V110;
    let driver =
        ManagedDriver::load_from_name("merganser", None, version, LOAD_FLAG_DEFAULT, paths);
    let without_shards = error(driver.unwrap().new_database());
    assert!(
        without_shards.message.contains("which shards"),
        "{without_shards}"
    );
}

#[test]
fn it_writes_a_manifest_that_managers_find() {
    let home = tempfile::tempdir().unwrap();
    let (library, prefix) = (library(), home.path().join("an environment"));
    std::fs::create_dir(&prefix).unwrap();
    let (library, venv) = (library.to_str().unwrap(), prefix.to_str().unwrap());
    for _ in 0..2 {
        let output = run(
            &["install", "--venv", venv, "--library", library],
            home.path(),
        );
        assert!(output.status.success(), "{output:?}");
        let folder = prefix.join("etc/adbc/drivers");
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains(folder.to_str().unwrap()), "{told}");
        assert_is_found(&folder);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }
    if cfg!(target_os = "linux") {
        // The library beside the program, for the user.
        let output = run(&["install", "--user"], home.path());
        assert!(output.status.success(), "{output:?}");
        assert_is_found(&home.path().join(".config/adbc/drivers"));
    }
}

#[test]
fn what_it_cannot_do_it_says() {
    let home = tempfile::tempdir().unwrap();
    let nowhere = home.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    for (arguments, code, text) in [
        (vec![], 2, "the command `install`"),
        (
            vec!["install"],
            2,
            "one of --venv, --user and --system is needed",
        ),
        (vec!["install", "--user", "--system"], 2, "only one of"),
        (vec!["install", "--venv"], 2, "DIR of --venv is missing"),
        (vec!["install", "--usr"], 2, "unknown argument --usr"),
        (
            vec!["install", "--user", "--library", nowhere],
            1,
            "nowhere: No such file",
        ),
        (
            vec!["install", "--venv", nowhere],
            1,
            "nowhere is not a folder",
        ),
    ] {
        let output = run(&arguments, home.path());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(text), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty());
    }
    let help = run(&["--help"], home.path());
    assert!(help.status.success());
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("--library PATH")
    );
}
