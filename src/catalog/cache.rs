//! Keeps the facts of databases in files, so that a program that runs for one query need not read them
//! anew.
//!
//! A file holds a document as a server has sent it, under a name that is made of its [key](Kept), and begins
//! with a seal over key, fingerprint and document. So what is cut, mixed up or of another time is not there.
//! The folder is the user's own, or it is not used: nothing here can tell what somebody else has put there.
//! Nothing here is an error either: what cannot be kept is read anew.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use ring::digest::{Context, SHA256};

/// A folder of documents.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    warned: Once,
}

/// What makes a document the one that is looked for.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// All that it depends on but the rows of the catalogs.
    pub(super) key: String,
    /// What these rows come to.
    pub(super) fingerprint: String,
}

impl Cache {
    /// Documents in this folder, which is made when there is something to keep.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            warned: Once::new(),
        }
    }

    /// The document, if it is there as it was kept.
    ///
    /// # Cancel safety
    /// When dropped, a thread of the runtime ends what was begun.
    pub(super) async fn get(self: &Arc<Self>, kept: Kept) -> Option<String> {
        let cache = self.clone();
        on_thread(move || cache.read(&kept)).await?
    }

    /// Keeps a document, in the place of any other of this key.
    ///
    /// # Cancel safety
    /// As [`get`](Self::get).
    pub(super) async fn put(self: &Arc<Self>, kept: Kept, document: String) {
        let cache = self.clone();
        on_thread(move || cache.write(&kept, &document)).await;
    }

    fn read(&self, kept: &Kept) -> io::Result<Option<String>> {
        let path = self.path(kept);
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Opening anything else could take for ever.
        if !found.is_file() || found.len() > LARGEST || !self.is_own_folder()? {
            return Ok(None);
        }
        let mut file = File::open(&path)?;
        if foreign(&file.metadata()?).is_some() {
            return Ok(None);
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let Some((seal, document)) = text.split_once('\n') else {
            return Ok(None);
        };
        if seal != sealed(kept, document) {
            return Ok(None);
        }
        if age(&found) > TOUCHED_AFTER {
            file.set_modified(SystemTime::now())?;
        }
        Ok(Some(document.to_owned()))
    }

    fn write(&self, kept: &Kept, document: &str) -> io::Result<()> {
        if document.len() as u64 > LARGEST / 2 {
            return Ok(());
        }
        private_folders().create(&self.folder)?;
        if !self.is_own_folder()? {
            return Ok(());
        }
        // Of a mode that lets nobody else read it.
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempfile_in(&self.folder)?;
        file.write_all(sealed(kept, document).as_bytes())?;
        file.write_all(b"\n")?;
        file.write_all(document.as_bytes())?;
        // Not brought to the disk: what a crash leaves of it has no seal.
        file.persist(self.path(kept))?;
        self.make_room(MOST_BYTES)
    }

    /// Removes what was not used for long, and of the rest what was not used for longest, until no more
    /// bytes are left than that.
    fn make_room(&self, most: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // Another process may have removed it meanwhile.
            let Ok(found) = entry.metadata() else {
                continue;
            };
            if found.is_file() && is_ours(&name) {
                files.push((age(&found), found.len(), entry.path()));
            }
        }
        files.sort();
        let mut bytes = 0;
        for (age, length, path) in files {
            bytes += length;
            if age > UNUSED_FOR || bytes > most {
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// Whether nobody else can have written to the folder; says so once if somebody can.
    fn is_own_folder(&self) -> io::Result<bool> {
        // A link of somebody else's may lead to any folder of this user.
        let link = owned_by_another(&fs::symlink_metadata(&self.folder)?);
        let folder = foreign(&fs::metadata(&self.folder)?);
        let Some(why) = link.or(folder) else {
            return Ok(true);
        };
        self.warned.call_once(|| {
            tracing::warn!(
                "catalogs of the shards are not kept in {}: {why}. Make it yours alone (chmod 700), or name \
                 another folder",
                self.folder.display()
            );
        });
        Ok(false)
    }

    fn path(&self, kept: &Kept) -> PathBuf {
        let mut name = hash(&[&kept.key]);
        name.push_str(EXTENSION);
        Path::new(&self.folder).join(name)
    }
}

/// Whether a file of this name is one of these, and not of somebody who has named a folder of others.
fn is_ours(name: &str) -> bool {
    let hash = name.strip_suffix(EXTENSION).unwrap_or_default();
    let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash || name.starts_with(UNFINISHED)
}

const EXTENSION: &str = ".catalog";
/// How names of files begin that are being written.
const UNFINISHED: &str = ".merganser-unfinished-";
/// As much is kept in all: some hundred databases, or fewer with many functions.
const MOST_BYTES: u64 = 256 << 20;
/// The longest file.
const LARGEST: u64 = 64 << 20;
/// A file that was not used for so long is removed.
const UNUSED_FOR: Duration = Duration::from_hours(30 * 24);
/// That a file is used is noted so rarely.
const TOUCHED_AFTER: Duration = Duration::from_hours(24);

/// Does what waits for a file system; `None` where that fails.
async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a catalog was not kept");
            None
        }
        Err(_) => None,
    }
}

/// In hexadecimal digits, a hash of all that makes the document the right one.
fn sealed(kept: &Kept, document: &str) -> String {
    hash(&[&kept.key, &kept.fingerprint, document])
}

/// A hash of these texts, each with where it ends.
fn hash(texts: &[&str]) -> String {
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    }
    let digest = context.finish();
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// How long nobody has used a file.
fn age(found: &Metadata) -> Duration {
    let used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    // One of the future is new.
    used.elapsed().unwrap_or_default()
}

/// Makes folders that nobody else may look into.
fn private_folders() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

/// Why somebody else may have written there, if so.
#[cfg(unix)]
fn foreign(found: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let is_open = found.mode() & 0o022 != 0;
    owned_by_another(found).or_else(|| is_open.then_some("other users can write to it"))
}

#[cfg(unix)]
fn owned_by_another(found: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let is_another = found.uid() != rustix::process::geteuid().as_raw();
    is_another.then_some("it belongs to another user")
}

#[cfg(not(unix))]
fn foreign(_: &Metadata) -> Option<&'static str> {
    None
}

#[cfg(not(unix))]
fn owned_by_another(_: &Metadata) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(key: &str, fingerprint: &str) -> Kept {
        Kept {
            key: key.to_owned(),
            fingerprint: fingerprint.to_owned(),
        }
    }

    /// The only file of the folder.
    fn file(cache: &Cache) -> PathBuf {
        let mut files = fs::read_dir(&cache.folder).unwrap();
        let path = files.next().unwrap().unwrap().path();
        assert!(files.next().is_none());
        path
    }

    fn cache() -> (tempfile::TempDir, Arc<Cache>) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/merganser");
        (root, Arc::new(Cache::new(folder)))
    }

    #[tokio::test]
    async fn what_was_kept_is_there_for_its_key_and_fingerprint_alone() {
        let (_root, cache) = cache();
        assert_eq!(cache.get(kept("k", "1")).await, None);
        cache.put(kept("k", "1"), "{}\n".to_owned()).await;
        assert_eq!(cache.get(kept("k", "1")).await.as_deref(), Some("{}\n"));
        for other in [kept("k", "2"), kept("j", "1"), kept("k1", "")] {
            assert_eq!(cache.get(other).await, None);
        }
        // The newer one takes its place.
        cache.put(kept("k", "2"), "[]".to_owned()).await;
        assert_eq!(cache.get(kept("k", "1")).await, None);
        assert_eq!(cache.get(kept("k", "2")).await.as_deref(), Some("[]"));
        // Nor is it there under the name of another.
        fs::rename(file(&cache), cache.path(&kept("j", "2"))).unwrap();
        assert_eq!(cache.get(kept("j", "2")).await, None);
    }

    #[tokio::test]
    async fn what_is_cut_or_changed_or_no_file_is_not_there() {
        let (_root, cache) = cache();
        let document = "{\"version\": 150004}";
        cache.put(kept("k", "1"), document.to_owned()).await;
        let path = file(&cache);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(cache.get(kept("k", "1")).await, None, "{length}");
            let mut changed = whole.clone();
            changed[length] ^= 0x80;
            fs::write(&path, &changed).unwrap();
            assert_eq!(cache.get(kept("k", "1")).await, None, "{length}");
        }
        fs::write(&path, &whole).unwrap();
        assert!(cache.get(kept("k", "1")).await.is_some());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(cache.get(kept("k", "1")).await, None);
        cache.put(kept("k", "1"), document.to_owned()).await;
        assert_eq!(cache.get(kept("k", "1")).await, None);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_what_is_the_users_alone_is_used() {
        use std::os::unix::fs::PermissionsExt;
        let (root, cache) = cache();
        let key = || kept("k", "1");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let set_mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        cache.put(key(), "{}".to_owned()).await;
        let path = file(&cache);
        assert_eq!(mode(&path), 0o600);
        for folder in [&cache.folder, &root.path().join("a")] {
            assert_eq!(mode(folder), 0o700);
        }
        for (path, bad, good) in [(&cache.folder, 0o770, 0o700), (&path, 0o622, 0o600)] {
            set_mode(path, bad);
            assert_eq!(cache.get(key()).await, None, "{}", path.display());
            set_mode(path, good);
            assert!(cache.get(key()).await.is_some());
        }
        fs::remove_file(&path).unwrap();
        set_mode(&cache.folder, 0o777);
        cache.put(key(), "{}".to_owned()).await;
        assert!(!path.exists());
        // Where nothing can be written.
        let nowhere = Arc::new(Cache::new(PathBuf::from("/dev/null/merganser")));
        nowhere.put(key(), "{}".to_owned()).await;
        assert_eq!(nowhere.get(key()).await, None);
    }

    #[tokio::test]
    async fn what_was_used_last_stays() {
        let (_root, cache) = cache();
        for (key, days) in [("a", 1), ("b", 3), ("c", 2), ("d", 40)] {
            cache.put(kept(key, "1"), "x".repeat(100)).await;
            let file = File::options()
                .write(true)
                .open(cache.path(&kept(key, "1")));
            let used = SystemTime::now() - Duration::from_hours(days * 24);
            file.unwrap().set_modified(used).unwrap();
        }
        // Files of somebody who has named a folder of his own.
        let others = ["notes.txt", "xml.catalog", ".unfinished-novel"].map(|name| {
            let other = cache.folder.join(name);
            fs::write(&other, "x".repeat(1000)).unwrap();
            let long_ago = SystemTime::now() - 2 * UNUSED_FOR;
            let file = File::options().write(true).open(&other).unwrap();
            file.set_modified(long_ago).unwrap();
            other
        });
        let left = async || {
            let mut left = String::new();
            for key in ["a", "b", "c", "d"] {
                left += match cache.path(&kept(key, "1")).exists() {
                    true => key,
                    false => "",
                };
            }
            left
        };
        cache.make_room(1000).unwrap();
        assert_eq!(left().await, "abc");
        // Using it is noted.
        cache.get(kept("b", "1")).await.unwrap();
        cache.make_room(400).unwrap();
        assert_eq!(left().await, "ab");
        assert!(others.iter().all(|other| other.exists()));
    }
}
