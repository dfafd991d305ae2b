//! Blobs: whole or not there.

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
async fn gives_back_what_was_written_piece_by_piece() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(folder.path(), 10_000_000).await.unwrap();
    let whole: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::of(&whole);
    let mut writer = blobs.writer().await.unwrap();
    for piece in whole.chunks(70_001) {
        writer.write(piece).await.unwrap();
    }
    assert_eq!(writer.written(), whole.len() as u64);
    assert_eq!(writer.content().await.unwrap(), whole);
    assert!(blobs.open(digest).await.unwrap().is_none(), "not yet");
    assert_eq!(writer.finish(Some(digest)).await.unwrap(), digest);

    let blobs = Blobs::at(folder.path(), 10_000_000).await.unwrap();
    assert_eq!(blobs.read(digest).await.unwrap().unwrap(), whole);
    let mut blob = blobs.open(digest).await.unwrap().unwrap();
    assert_eq!(blob.size, whole.len() as u64);
    let mut read = Vec::new();
    blob.file.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, whole);
    assert_eq!(files(folder.path()), [digest.hex()]);
}

#[tokio::test]
async fn the_same_twice_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(folder.path(), 100).await.unwrap();
    let (mut first, mut second) = (blobs.writer().await.unwrap(), blobs.writer().await.unwrap());
    first.write(b"same").await.unwrap();
    second.write(b"same").await.unwrap();
    let (first, second) = tokio::join!(first.finish(None), second.finish(None));
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(files(folder.path()), [Digest::of(b"same").hex()]);
}

#[tokio::test]
async fn something_else_than_was_said_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(folder.path(), 100).await.unwrap();
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"one thing").await.unwrap();
    let said = Digest::of(b"another");
    let error = writer.finish(Some(said)).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { expected, found }
        if expected == said && found == Digest::of(b"one thing")));
    assert_eq!(files(folder.path()), [""; 0]);
    assert_eq!(blobs.read(said).await.unwrap(), None);
}

#[tokio::test]
async fn too_large_is_refused_at_the_byte_that_is_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(folder.path(), 10).await.unwrap();
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"0123456789").await.unwrap();
    let error = writer.write(b"x").await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 10 }));
    // There is no going on with a part of it.
    assert!(matches!(writer.write(b"").await, Err(Error::Torn)));
    assert!(matches!(writer.finish(None).await, Err(Error::Torn)));
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn what_is_cut_short_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(folder.path(), 100).await.unwrap();
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"half of").await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    drop(writer);
    assert_eq!(files(folder.path()), [""; 0]);

    // As a process that was killed leaves it.
    let left = folder.path().join("incoming/0");
    std::fs::write(&left, "half of").unwrap();
    Blobs::at(folder.path(), 100).await.unwrap();
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn what_the_disk_has_changed_is_not_given_out() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::at(folder.path(), 100).await.unwrap();
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"sound").await.unwrap();
    let digest = writer.finish(None).await.unwrap();
    std::fs::write(folder.path().join(digest.hex()), b"rotten").unwrap();
    let error = blobs.read(digest).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    // The same again mends it.
    let mut writer = blobs.writer().await.unwrap();
    writer.write(b"sound").await.unwrap();
    writer.finish(Some(digest)).await.unwrap();
    assert_eq!(blobs.read(digest).await.unwrap().unwrap(), b"sound");
}
