//! Catalogs that are kept from run to run.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::planned::scene;
use super::{Done, Run, Scene, assert_contains, merganser, names_in};

/// A run that keeps catalogs in this folder.
fn run(scene: &Scene, folder: &Path, arguments: &[&str]) -> Done {
    let mut command = merganser(scene.folder.path());
    command.env("MERGANSER_CACHE_DIR", folder);
    command.args(arguments).run()
}

#[track_caller]
fn output_of(scene: &Scene, folder: &Path, arguments: &[&str]) -> String {
    let done = run(scene, folder, arguments);
    assert_eq!((done.code, &*warnings(&done)), (0, ""), "{}", done.stderr);
    done.stdout
}

/// The lines of standard error that warn.
fn warnings(done: &Done) -> String {
    let lines = done.stderr.lines();
    lines.filter(|line| line.contains("warning")).collect()
}

const COLUMNS: &str = "SELECT * FROM t WHERE id = 1";

#[test]
fn what_has_changed_is_seen_by_the_next_run() {
    let Some(scene) = scene() else { return };
    let folder = scene.path("cache/merganser");
    let answer = || output_of(&scene, &folder, &["query", COLUMNS]);
    let before = answer();
    assert_eq!(before, "id,kind,x\n1,k1,0.1\n");
    let kept = names_in(&folder);
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    for name in &kept {
        assert_eq!(
            fs::metadata(folder.join(name)).unwrap().mode() & 0o777,
            0o600
        );
        let text = fs::read_to_string(folder.join(name)).unwrap();
        assert!(!text.contains("postgresql://") && !text.contains("k1"));
    }
    let times = || -> Vec<_> {
        let files = kept.iter().map(|name| fs::metadata(folder.join(name)));
        files.map(|it| it.unwrap().modified().unwrap()).collect()
    };
    // A run that finds them does not write them.
    let written = times();
    assert_eq!(answer(), before);
    assert_eq!(times(), written);

    scene.execute_all("ALTER TABLE t ADD y int DEFAULT 7");
    assert_eq!(answer(), "id,kind,x,y\n1,k1,0.1,7\n");
    assert_ne!(times(), written);
    // What has changed on one shard alone is an error, as without a cache.
    scene.execute(1, "ALTER TABLE t ALTER y TYPE bigint");
    let of = |arguments| {
        let done = run(&scene, &folder, arguments);
        (done.code, done.stderr)
    };
    let (code, said) = of(&["query", COLUMNS]);
    assert_eq!(code, 3, "{said}");
    assert_eq!((code, said), of(&["query", "--no-cache", COLUMNS]));
    scene.execute(1, "ALTER TABLE t ALTER y TYPE int");
    assert_eq!(answer(), "id,kind,x,y\n1,k1,0.1,7\n");
    assert_eq!(names_in(&folder), kept);
}

#[test]
fn files_that_are_damaged_or_missing_do_not_matter() {
    let Some(scene) = scene() else { return };
    let folder = scene.path("cache");
    let answer = || output_of(&scene, &folder, &["query", COLUMNS]);
    let expected = answer();
    let kept: Vec<_> = names_in(&folder).iter().map(|it| folder.join(it)).collect();
    let whole = fs::read(&kept[0]).unwrap();
    let half = &whole[..whole.len() / 2];
    for bytes in [b"".as_slice(), half, b"{}\n", &[0xff; 100]] {
        fs::write(&kept[0], bytes).unwrap();
        assert_eq!(answer(), expected);
        assert_eq!(fs::read(&kept[0]).unwrap().len(), whole.len());
    }
    // Each of the other's.
    let between = folder.join("between");
    fs::rename(&kept[0], &between).unwrap();
    fs::rename(&kept[1], &kept[0]).unwrap();
    fs::rename(&between, &kept[1]).unwrap();
    assert_eq!(answer(), expected);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(answer(), expected);
    assert_eq!(names_in(&folder).len(), 2);
}

#[test]
fn a_folder_that_is_not_the_users_alone_is_not_used() {
    let Some(scene) = scene() else { return };
    let folder = scene.path("open");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let done = run(&scene, &folder, &["query", COLUMNS]);
    assert_eq!((done.code, &*done.stdout), (0, "id,kind,x\n1,k1,0.1\n"));
    assert_contains(&done.stderr, "catalogs of the shards are not kept in");
    assert_contains(&done.stderr, "other users can write to it");
    // Said once, not for each shard.
    assert_eq!(done.stderr.matches("warning").count(), 1, "{}", done.stderr);
    assert_eq!(names_in(&folder), [""; 0]);
    output_of(&scene, &folder, &["query", "--no-cache", COLUMNS]);
    // Where none can be made there is none, and nothing to say.
    output_of(&scene, Path::new("/dev/null/cache"), &["query", COLUMNS]);
}

#[test]
fn nothing_is_kept_where_that_is_not_wanted() {
    let Some(scene) = scene() else { return };
    let folder = scene.path("cache");
    for arguments in [
        &["query", "--no-cache", COLUMNS][..],
        &["explain", "--no-cache", COLUMNS],
    ] {
        output_of(&scene, &folder, arguments);
        assert!(!folder.exists(), "{arguments:?}");
    }
    output_of(&scene, Path::new(""), &["query", COLUMNS]);
    output_of(&scene, &folder, &["explain", COLUMNS]);
    assert_eq!(names_in(&folder).len(), 2);
    // The usual place.
    let home = scene.path("home");
    fs::create_dir(&home).unwrap();
    let mut command = merganser(scene.folder.path());
    command
        .env_remove("MERGANSER_CACHE_DIR")
        .env_remove("XDG_CACHE_HOME");
    let done = command.env("HOME", &home).args(["query", COLUMNS]).run();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(names_in(&home.join(".cache/merganser")).len(), 2);
}

#[test]
fn a_catalog_that_the_role_may_not_read_is_no_error() {
    let Some(scene) = scene() else { return };
    scene.execute(0, "CREATE ROLE cache_reader LOGIN");
    scene.execute_all(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO cache_reader;
         REVOKE SELECT ON pg_auth_members FROM PUBLIC",
    );
    let file = scene.path("merganser.toml");
    let topology = fs::read_to_string(&file).unwrap();
    assert_contains(&topology, "//postgres@");
    fs::write(&file, topology.replace("//postgres@", "//cache_reader@")).unwrap();
    let folder = scene.path("cache");
    for arguments in [&["query", COLUMNS][..], &["query", "--no-cache", COLUMNS]] {
        let answer = output_of(&scene, &folder, arguments);
        assert_eq!(answer, "id,kind,x\n1,k1,0.1\n");
    }
    assert!(!folder.exists());
}
