//! `${...}` in texts of the file: what does not belong into it comes from elsewhere.
//!
//! | written | becomes |
//! | --- | --- |
//! | `${NAME}` | the environment variable NAME |
//! | `${NAME:-text}` | the same, or `text` if it is not set |
//! | `${file:PATH}` | what is in that file, without the line end. A relative path starts at the configuration's folder |
//! | `${credential:NAME}` | what systemd's `LoadCredential=` brings under that name |
//! | `$$` | one `$` |
//!
//! What comes from a file or a credential is a secret: from then on it is shown nowhere ([`crate::mask`]).

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// What `${...}` looks at.
pub struct Surroundings<'a> {
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The configuration's folder.
    pub folder: &'a Path,
    /// Whether the text comes from somebody who may see the environment and files: from a file, not from the API.
    pub may_refer: bool,
}

/// Longer than any password; a file that is larger is another file than was meant.
const LONGEST: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0} holds more than a secret")]
    TooLong(PathBuf),
    #[error("there are no credentials: CREDENTIALS_DIRECTORY is not set")]
    NoCredentials,
    #[error("${{...}} is understood in files only")]
    NotHere,
    #[error("${{...}} is not closed")]
    Open,
    #[error("${{{0}}} is not understood")]
    Unknown(String),
}

impl ExpandError {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::NotSet(name) => format!("set it, or give a default as in ${{{name}:-text}}"),
            Self::File { .. } => "the file must exist and be readable by this user".to_owned(),
            Self::TooLong(_) => "the file should hold the secret and nothing else".to_owned(),
            Self::NotHere => "write the value itself; a $ before { is $$".to_owned(),
            Self::NoCredentials => "start valkka by systemd with LoadCredential=, or use ${file:PATH}".to_owned(),
            Self::Open | Self::Unknown(_) => {
                "allowed: ${NAME}, ${NAME:-text}, ${file:PATH}, ${credential:NAME}; a $ of its own is $$".to_owned()
            }
        }
    }
}

/// The text with everything filled in.
pub fn expand(text: &str, around: &Surroundings<'_>) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some(after) = after.strip_prefix('{') {
            let (inner, after) = after.split_once('}').ok_or(ExpandError::Open)?;
            out.push_str(&value_of(inner, around)?);
            after
        } else {
            // A password may hold a $, and nobody doubles it.
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    Ok(out)
}

fn value_of(inner: &str, around: &Surroundings<'_>) -> Result<String, ExpandError> {
    if !around.may_refer {
        return Err(ExpandError::NotHere);
    }
    if let Some(path) = inner.strip_prefix("file:") {
        return secret_file(&around.folder.join(path));
    }
    if let Some(name) = inner.strip_prefix("credential:") {
        let folder = (around.variable)("CREDENTIALS_DIRECTORY").ok_or(ExpandError::NoCredentials)?;
        return secret_file(&Path::new(&folder).join(name));
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins_well || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(ExpandError::Unknown(inner.to_owned()));
    }
    let value = (around.variable)(name).or_else(|| default.map(str::to_owned));
    let value = value.ok_or_else(|| ExpandError::NotSet(name.to_owned()))?;
    if ["PASS", "PWD", "SECRET", "TOKEN", "KEY"].iter().any(|part| name.to_ascii_uppercase().contains(part)) {
        crate::mask::keep_secret(&value);
    }
    Ok(value)
}

fn secret_file(path: &Path) -> Result<String, ExpandError> {
    let failed = |source| ExpandError::File { path: path.to_owned(), source };
    // Looked at before it is opened: opening a pipe would wait for whoever writes into it.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("is no file")));
    }
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(LONGEST as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > LONGEST {
        return Err(ExpandError::TooLong(path.to_owned()));
    }
    let secret = text.trim_end_matches(['\n', '\r']).to_owned();
    crate::mask::keep_secret(&secret);
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str, folder: &Path) -> Result<String, String> {
        let variable = |name: &str| match name {
            "HOST" => Some("cam".to_owned()),
            "CREDENTIALS_DIRECTORY" => Some(folder.to_str().unwrap().to_owned()),
            _ => None,
        };
        expand(text, &Surroundings { variable: &variable, folder, may_refer: true }).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_meant_stands_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secret"), "from-a-file\n").unwrap();
        for (text, meant) in [
            ("rtsp://${HOST}/1", "rtsp://cam/1"),
            ("${PORT:-554}", "554"),
            ("${EMPTY:-}", ""),
            ("a$b$$c${HOST}", "a$b$ccam"),
            ("u:${file:secret}@", "u:from-a-file@"),
            ("${credential:secret}", "from-a-file"),
        ] {
            assert_eq!(expanded(text, folder.path()).as_deref(), Ok(meant), "{text}");
        }
        assert_eq!(crate::mask::mask("it is from-a-file, is it not"), "it is ***, is it not");
    }

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (text, part) in [
            ("${NOWHERE}", "NOWHERE is not set"),
            ("${file:nothing}", "nothing"),
            ("${HOST", "not closed"),
            ("${a b}", "${a b} is not understood"),
            ("${}", "not understood"),
        ] {
            let problem = expanded(text, folder.path()).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
        fs::write(folder.path().join("large"), "x".repeat(LONGEST + 1)).unwrap();
        assert!(expanded("${file:large}", folder.path()).unwrap_err().contains("more than a secret"));
    }
}
