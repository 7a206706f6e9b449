//! Makes the seeds out of `testdata`: `cargo run --example seed`, in this folder; `run` does it.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use merganser_fuzz::head;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = here.join("../testdata");
    let seed = |target: &str, name: &str, bytes: &[u8]| -> Result<()> {
        let corpus = here.join("corpus").join(target);
        fs::create_dir_all(&corpus)?;
        Ok(fs::write(corpus.join(name), bytes)?)
    };
    for path in files(&data.join("copy"), "copy")? {
        let name = name(&path);
        let rows: serde_json::Value =
            serde_json::from_slice(&fs::read(path.with_extension("json"))?)?;
        let columns = rows["columns"].as_array().ok_or("no columns")?;
        let columns: Vec<_> = columns
            .iter()
            .filter_map(|column| column.as_str())
            .collect();
        let head = head(&columns).ok_or_else(|| format!("{}: add its types", path.display()))?;
        let copy = fs::read(&path)?;
        seed("decode", &name, &[head, copy.clone()].concat())?;
        seed("wire", &name, &sent(&copy))?;
    }
    for folder in ["plans", "oracle", "cases", "sql/roundtrip", "tpch"] {
        for path in files(&data.join(folder), "sql")? {
            for (at, text) in fs::read_to_string(&path)?.split(";\n").enumerate() {
                let name = format!("{}-{at}", name(&path));
                seed("statement", &name, text.trim().as_bytes())?;
                seed("plan", &name, text.trim().as_bytes())?;
            }
        }
    }
    let reference = fs::read(here.join("../src/config/reference.toml"))?;
    seed("topology", "reference", &reference)?;
    for (at, text) in CONNECTION_STRINGS.iter().enumerate() {
        seed("conninfo", &at.to_string(), text.as_bytes())?;
    }
    seed(
        "files",
        "passfile",
        b"# a\nlocalhost:5432:*:user:pass\\:word\n*:*:db:*:x\n",
    )?;
    seed(
        "files",
        "services",
        b"# a\n[s]\nhost=h\nport=1\n\n[t]\ndbname=d\n",
    )?;
    seed("journal", "journal", JOURNAL.as_bytes())
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// An input of `wire`: how much comes at once, what is asked, and a login and a COPY as a server sends them.
fn sent(copy: &[u8]) -> Vec<u8> {
    let message = |tag: u8, body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap_or_default();
        [&[tag], &length.to_be_bytes()[..], body].concat()
    };
    let messages = [
        message(b'R', &10_u32.to_be_bytes()),
        message(b'R', &0_u32.to_be_bytes()),
        message(b'S', b"server_version\x0015.0\0"),
        message(b'Z', b"I"),
        message(b'H', &[1, 0, 0]),
        message(b'd', copy),
        message(b'c', b""),
        message(b'C', b"COPY 3\0"),
        message(b'Z', b"T"),
        message(b'1', b""),
        message(b't', b"\0\0"),
        message(
            b'T',
            b"\0\x01n\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0",
        ),
        message(b'Z', b"T"),
    ];
    [&[7, 4][..], &messages.concat()].concat()
}

const CONNECTION_STRINGS: [&str; 8] = [
    "postgresql://user:pass%40word@host:5432/db?sslmode=verify-full&connect_timeout=5",
    "postgres://[::1]:5433,b:5434/d?target_session_attrs=primary&load_balance_hosts=random",
    "postgresql:///d?host=/run/postgresql&port=1",
    "host=a,b hostaddr=127.0.0.1,::1 port=1,2 user='u s' password='it\\'s'",
    "sslmode=require sslnegotiation=direct channel_binding=require require_auth=!none,!md5",
    "ssl_min_protocol_version=TLSv1.3 sslsni=0 sslcertmode=disable keepalives_idle=3",
    "host=${HOST:-h} password=${PASSWORD}",
    "service=s application_name=a options='-c geqo=off' tcp_user_timeout=1000",
];

const JOURNAL: &str = r#"{"version":1,"statement":"table t","fingerprint":"f","topology":"t","format":"parquet","columns":[{"name":"id","data_type":"Int32"}],"partition_by":[],"layout":"l","shards":["s0"],"not_resumable":null}
{"shard":{"name":"s0","rows":1,"read_at":"2026-01-01 00:00:00+00"},"files":[{"path":"s0.parquet","shard":"s0","rows":1,"bytes":3,"sha256":"00","partition":[],"columns":[]}]}
"#;
