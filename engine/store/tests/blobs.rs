//! Blobs are stored whole or not at all.

use std::path::Path;

use hotswap_core::Digest;
use hotswap_store::blobs::{Blobs, Error};
use tokio::io::AsyncReadExt;

fn files(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for folder in [folder.to_owned(), folder.join("incoming")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                names.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    names.sort();
    names
}

#[tokio::test]
async fn a_blob_written_in_parts_is_read_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_folder(folder.path(), 10_000_000).await.unwrap();
    let whole: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::of(&whole);
    let mut writer = blobs.writer().await.unwrap();
    for part in whole.chunks(70_001) {
        writer.write(part).await.unwrap();
    }
    assert_eq!(writer.written(), whole.len() as u64);
    assert_eq!(writer.content().await.unwrap(), whole);
    assert!(
        blobs.open(digest).await.unwrap().is_none(),
        "not before finish"
    );
    assert_eq!(writer.finish(Some(digest)).await.unwrap(), digest);

    let blobs = Blobs::open_folder(folder.path(), 10_000_000).await.unwrap();
    assert_eq!(blobs.read(digest).await.unwrap().unwrap(), whole);
    let mut blob = blobs.open(digest).await.unwrap().unwrap();
    assert_eq!(blob.size, whole.len() as u64);
    let mut read = Vec::new();
    blob.file.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, whole);
    assert_eq!(files(folder.path()), [digest.hex()]);
}

#[tokio::test]
async fn the_same_content_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_folder(folder.path(), 100).await.unwrap();
    let (mut first, mut second) = (blobs.writer().await.unwrap(), blobs.writer().await.unwrap());
    first.write(b"same").await.unwrap();
    second.write(b"same").await.unwrap();
    let (first, second) = tokio::join!(first.finish(None), second.finish(None));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(files(folder.path()), [Digest::of(b"same").hex()]);
}

#[tokio::test]
async fn a_blob_with_an_unexpected_digest_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_folder(folder.path(), 100).await.unwrap();
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"one thing").await.unwrap();
    let expected_digest = Digest::of(b"another");
    let error = writer.finish(Some(expected_digest)).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { expected, found }
        if expected == expected_digest && found == Digest::of(b"one thing")));
    assert_eq!(files(folder.path()), [""; 0]);
    assert_eq!(blobs.read(expected_digest).await.unwrap(), None);
}

#[tokio::test]
async fn a_blob_above_the_limit_is_rejected_at_the_first_byte_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_folder(folder.path(), 10).await.unwrap();
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"0123456789").await.unwrap();
    let error = writer.write(b"x").await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 10 }));
    // It cannot continue after a gap.
    assert!(matches!(writer.write(b"").await, Err(Error::Incomplete)));
    assert!(matches!(writer.finish(None).await, Err(Error::Incomplete)));
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn an_unfinished_upload_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_folder(folder.path(), 100).await.unwrap();
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"half of").await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    drop(writer);
    assert_eq!(files(folder.path()), [""; 0]);

    // As a killed process leaves it.
    let leftover = folder.path().join("incoming/0");
    std::fs::write(&leftover, "half of").unwrap();
    Blobs::open_folder(folder.path(), 100).await.unwrap();
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn a_corrupt_blob_is_not_returned() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open_folder(folder.path(), 100).await.unwrap();
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"sound").await.unwrap();
    let digest = writer.finish(None).await.unwrap();
    std::fs::write(folder.path().join(digest.hex()), b"corrupt").unwrap();
    let error = blobs.read(digest).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    // Uploading it again repairs it.
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"sound").await.unwrap();
    writer.finish(Some(digest)).await.unwrap();
    assert_eq!(blobs.read(digest).await.unwrap().unwrap(), b"sound");
}
