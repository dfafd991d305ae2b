use std::io;
use std::path::Path;

use hotswap_common::file;

/// The key of a node's data folder, made at the first start. By it the engine tells a node
/// that was restarted, perhaps at another address, from another node with the same id.
///
/// # Errors
/// If the file cannot be read or written, or the system has no randomness.
pub(crate) fn read_or_create(path: &Path) -> io::Result<String> {
    if let Some(key) = file::read_if_exists(path)? {
        let key = String::from_utf8(key).unwrap_or_default();
        if is_key(key.trim()) {
            return Ok(key.trim().to_owned());
        }
        tracing::warn!(path = %path.display(), "the node's instance key is damaged, making a new one");
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let key = format!("{:032x}", u128::from_be_bytes(bytes));
    file::write_atomic(path, key.as_bytes())?;
    Ok(key)
}

fn is_key(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_key_and_another_has_another() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let read = |folder: usize| read_or_create(&folders[folder].path().join("key")).unwrap();
        let (one, other) = (read(0), read(1));
        assert!(is_key(&one) && one != other);
        assert_eq!(read(0), one);
        std::fs::write(folders[0].path().join("key"), b"junk").unwrap();
        assert_ne!(read(0), one);
    }
}
