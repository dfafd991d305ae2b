use super::*;

fn name(text: &str) -> ContextName {
    text.parse().unwrap()
}

fn context(server: &str) -> EngineContext {
    EngineContext {
        server: server.to_owned(),
        token: Some(Secret::new("a-token-of-somebody")),
        token_file: None,
        ca: None,
        client_cert: None,
        client_key: None,
        email: None,
    }
}

fn add(file: &ContextFile, at: &str) -> Result<()> {
    file.change(|contexts| {
        contexts.contexts.insert(name(at), context("http://a"));
        Ok(())
    })
}

#[test]
fn contexts_are_read_as_they_were_written_and_only_their_user_can_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = ContextFile::in_folder(&folder.path().join("not/yet"));
    assert_eq!(file.read().unwrap(), Contexts::default());
    add(&file, "one").unwrap();
    add(&file, "two").unwrap();
    let contexts = file.read().unwrap();
    assert_eq!(contexts.contexts.len(), 2);
    assert_eq!(contexts.get(&name("one")).unwrap(), &context("http://a"));
    let mode = fs::metadata(&file.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = file.read().unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn commands_at_the_same_time_lose_no_context() {
    let folder = tempfile::tempdir().unwrap();
    let file = ContextFile::in_folder(folder.path());
    thread::scope(|scope| {
        for writer in 0..8 {
            let file = &file;
            scope.spawn(move || add(file, &format!("context-{writer}")).unwrap());
        }
    });
    assert_eq!(file.read().unwrap().contexts.len(), 8);
}

#[test]
fn a_change_that_fails_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = ContextFile::in_folder(folder.path());
    add(&file, "one").unwrap();
    let failed = file.change(|contexts| {
        contexts.contexts.clear();
        anyhow::bail!("no");
        #[expect(unreachable_code, reason = "the type of the result")]
        Ok(())
    });
    assert!(failed.is_err());
    assert_eq!(file.read().unwrap().contexts.len(), 1);
}

#[test]
fn the_error_for_a_damaged_file_names_the_place_and_shows_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = ContextFile::in_folder(folder.path());
    for text in [
        "{\"contexts\":{\"a\":{\"server\":\"http://a\",\"token\":[\"secret-token\"]}}}",
        "{\"contexts\":{\"a\":{\"secret-token\":1}}}",
        "secret-token",
        "",
    ] {
        secret_file::write(&file.path, text).unwrap();
        let error = format!("{:#}", file.read().unwrap_err());
        assert!(error.contains("line"), "{error}");
        assert!(!error.contains("secret-token"), "{error}");
        assert!(add(&file, "one").is_err());
        assert_eq!(fs::read_to_string(&file.path).unwrap(), text);
    }
}

#[test]
fn names_of_contexts_are_short_and_plain() {
    for good in ["a", "prod.eu-1_b", &"x".repeat(64)] {
        assert!(good.parse::<ContextName>().is_ok(), "{good}");
    }
    for bad in ["", " ", "a b", "ü", "a/b", &"x".repeat(65)] {
        assert!(bad.parse::<ContextName>().is_err(), "{bad}");
    }
}
