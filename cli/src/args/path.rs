use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};

/// The longest path, in bytes. Linux opens no longer one.
const MAX_PATH: usize = 4096;

/// Parses a path that the system may know. Errors about files quote their paths, so that none
/// may be longer.
pub fn path_parser() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(check)
}

fn check(path: OsString) -> Result<PathBuf, String> {
    match path.len() {
        0 => Err("name a file or folder".to_owned()),
        length if length > MAX_PATH => Err(format!(
            "the path has {length} bytes, and {MAX_PATH} are allowed"
        )),
        _ => Ok(path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_system_opens_is_refused() {
        assert_eq!(check("a".into()), Ok(PathBuf::from("a")));
        assert!(check("".into()).is_err());
        assert!(check("a".repeat(MAX_PATH).into()).is_ok());
        let error = check("a".repeat(MAX_PATH + 1).into()).unwrap_err();
        assert!(error.contains("4097 bytes"), "{error}");
    }
}
