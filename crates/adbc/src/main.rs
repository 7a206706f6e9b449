//! Installs the driver: writes the manifest by which driver managers find it.

use std::env;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use merganser_adbc::manifest::{self, Place};

const USAGE: &str = "\
usage: merganser-adbc install (--venv DIR | --user | --system) [--library PATH]

Writes the manifest by which ADBC's driver managers find the driver `merganser`.

  --venv DIR      for a Python environment; DIR is its sys.prefix
  --user          for this user
  --system        for all users of this machine
  --library PATH  the driver's library; the one beside this program unless given. It stays there: build
                  or copy it to where it is to stay before
";

fn main() -> ExitCode {
    // Whoever closed the output wants to read nothing more.
    match run(env::args_os().skip(1)) {
        Ok(text) => {
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(Failure::Usage(text)) => {
            let _ = write!(std::io::stderr(), "error: {text}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Install(error)) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Usage(String),
    Install(std::io::Error),
}

fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<String, Failure> {
    let usage = |text: &str| Failure::Usage(text.to_owned());
    let command = arguments.next();
    match command.as_ref().and_then(|command| command.to_str()) {
        Some("install") => {}
        Some("-h" | "--help" | "help") => return Ok(USAGE.to_owned()),
        _ => return Err(usage("expected the command `install`")),
    }
    let (mut place, mut library) = (None, None);
    while let Some(argument) = arguments.next() {
        let mut value = |what: &str| {
            let value = arguments.next().map(PathBuf::from);
            value.ok_or_else(|| Failure::Usage(format!("{what} is missing")))
        };
        let chosen = match argument.to_str() {
            Some("-h" | "--help") => return Ok(USAGE.to_owned()),
            Some("--library") => {
                library = Some(value("PATH of --library")?);
                continue;
            }
            Some("--venv") => Place::Environment(value("DIR of --venv")?),
            Some("--user") => Place::User,
            Some("--system") => Place::System,
            _ => {
                let text = format!("unknown argument {}", argument.display());
                return Err(Failure::Usage(text));
            }
        };
        if place.replace(chosen).is_some() {
            return Err(usage("only one of --venv, --user and --system"));
        }
    }
    let place = place.ok_or_else(|| usage("one of --venv, --user and --system is needed"))?;
    let library = match library {
        Some(library) => library,
        None => beside_this_program().map_err(Failure::Install)?,
    };
    let path = manifest::install(&place, &library).map_err(Failure::Install)?;
    Ok(format!(
        "wrote {}: driver managers find merganser:// there\n",
        path.display()
    ))
}

fn beside_this_program() -> std::io::Result<PathBuf> {
    let name = format!("{DLL_PREFIX}merganser_adbc{DLL_SUFFIX}");
    Ok(env::current_exe()?.with_file_name(name))
}
