use super::*;

fn global() -> Global {
    Global {
        server: None,
        context: None,
        token: None,
        token_file: None,
        email: None,
        json: false,
        no_color: false,
        tls: Default::default(),
    }
}

/// A folder in which `hotswap dev` runs an engine at `server`.
fn folder(server: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dev = folder.path().join(defaults::DEV_FOLDER);
    fs::create_dir_all(&dev).unwrap();
    fs::write(dev.join("server"), format!("{server}\n")).unwrap();
    fs::write(dev.join("token"), "of-dev\n").unwrap();
    folder
}

fn resolve(
    global: &Global,
    variables: &EnvironmentVariables,
    current_folder: &Path,
) -> (String, Option<String>) {
    let settings = Settings::resolve(global, variables, current_folder).unwrap();
    let token = settings.token.map(|token| token.expose().to_owned());
    (settings.server, token)
}

#[test]
fn flags_override_variables_and_variables_override_the_folder() {
    let current = folder("http://127.0.0.1:4000");
    let file = current.path().join("mine");
    fs::write(&file, "of-file\n").unwrap();
    let mut global = global();
    let mut variables = EnvironmentVariables::default();
    let expected = |token: &str| ("http://127.0.0.1:4000".to_owned(), Some(token.to_owned()));

    assert_eq!(
        resolve(&global, &variables, current.path()),
        expected("of-dev")
    );
    variables.token = Some(Secret::new("of-env"));
    assert_eq!(
        resolve(&global, &variables, current.path()),
        expected("of-env")
    );
    global.token_file = Some(file);
    assert_eq!(
        resolve(&global, &variables, current.path()),
        expected("of-file")
    );
    global.token = Some("of-flag\n".to_owned());
    assert_eq!(
        resolve(&global, &variables, current.path()),
        expected("of-flag")
    );
}

#[test]
fn without_a_dev_folder_the_default_address_and_no_token() {
    let current = tempfile::tempdir().unwrap();
    let resolved = resolve(&global(), &EnvironmentVariables::default(), current.path());
    assert_eq!(resolved, (defaults::SERVER.to_owned(), None));
}

#[test]
fn the_token_of_the_dev_folder_is_sent_to_no_other_engine() {
    let current = folder("http://127.0.0.1:4000");
    let mut global = global();
    global.server = Some("http://engine.example:5000/".to_owned());
    let resolved = resolve(&global, &EnvironmentVariables::default(), current.path());
    assert_eq!(resolved, ("http://engine.example:5000".to_owned(), None));

    global.server = Some("http://127.0.0.1:4000/".to_owned());
    let resolved = resolve(&global, &EnvironmentVariables::default(), current.path());
    assert_eq!(resolved.1.as_deref(), Some("of-dev"));
}

#[test]
fn a_dev_folder_that_names_another_machine_is_ignored() {
    let current = folder("http://engine.example:4000");
    let variables = EnvironmentVariables {
        token: Some(Secret::new("secret")),
        ..EnvironmentVariables::default()
    };
    let resolved = resolve(&global(), &variables, current.path());
    assert_eq!(resolved.0, defaults::SERVER);
}

#[test]
fn the_dev_folder_is_found_only_for_its_own_engine() {
    let current = folder("http://127.0.0.1:4000");
    let mut global = global();
    let found = |global: &Global| dev_folder(global, current.path()).unwrap();
    let expected = Some(current.path().join(defaults::DEV_FOLDER));
    assert_eq!(found(&global), expected);
    global.server = Some("http://127.0.0.1:4000/".to_owned());
    assert_eq!(found(&global), expected);
    global.server = Some("http://127.0.0.1:4001".to_owned());
    assert_eq!(found(&global), None);
    global.server = Some("engine".to_owned());
    assert!(dev_folder(&global, current.path()).is_err());
    let elsewhere = tempfile::tempdir().unwrap();
    global.server = None;
    assert_eq!(dev_folder(&global, elsewhere.path()).unwrap(), None);
}

#[test]
fn an_invalid_address_is_a_usage_error() {
    for invalid in [
        "engine",
        "ftp://engine",
        "http://",
        "http://me:pw@engine",
        "http://e/?a",
    ] {
        let mut global = global();
        global.server = Some(invalid.to_owned());
        let current = tempfile::tempdir().unwrap();
        let error = Settings::resolve(&global, &EnvironmentVariables::default(), current.path())
            .unwrap_err();
        assert!(error.is::<UsageError>(), "{invalid}: {error}");
    }
}

#[test]
fn debug_does_not_show_the_token() {
    let settings = Settings {
        tls: Default::default(),
        server: defaults::SERVER.to_owned(),
        token: Some(Secret::new("hush")),
        token_file: None,
        email: String::new(),
        json: false,
        no_color: true,
        ci: false,
    };
    assert!(!format!("{settings:?}").contains("hush"));
}

/// A file of contexts with `prod`, and with `test`, which is in use.
fn contexts(folder: &Path) -> EnvironmentVariables {
    let variables = EnvironmentVariables {
        config_folder: Some(folder.join("config")),
        ..EnvironmentVariables::default()
    };
    let context = |server: &str, token: &str| EngineContext {
        server: server.to_owned(),
        token: Some(Secret::new(token)),
        token_file: None,
        ca: Some(folder.join("ca.pem")),
        client_cert: None,
        client_key: None,
        email: Some("ada@example.org".to_owned()),
    };
    let file = context_file(&variables).unwrap();
    file.change(|contexts| {
        contexts.current = Some("test".parse().unwrap());
        let test = context("http://test:5000", "of-test");
        contexts.contexts.insert("test".parse().unwrap(), test);
        let prod = context("https://prod", "of-prod");
        contexts.contexts.insert("prod".parse().unwrap(), prod);
        Ok(())
    })
    .unwrap();
    variables
}

#[test]
fn the_context_in_use_stands_where_nothing_else_names_an_engine() {
    let current = tempfile::tempdir().unwrap();
    let mut variables = contexts(current.path());
    let expected = |server: &str, token: &str| (server.to_owned(), Some(token.to_owned()));
    let in_use = resolve(&global(), &variables, current.path());
    assert_eq!(in_use, expected("http://test:5000", "of-test"));
    let settings = Settings::resolve(&global(), &variables, current.path()).unwrap();
    assert_eq!(settings.email, "ada@example.org");
    assert_eq!(
        settings.tls.authorities,
        Some(current.path().join("ca.pem"))
    );

    let mut named = global();
    named.context = Some("prod".parse().unwrap());
    let prod = resolve(&named, &variables, current.path());
    assert_eq!(prod, expected("https://prod", "of-prod"));

    variables.token = Some(Secret::new("of-env"));
    let prod = resolve(&named, &variables, current.path());
    assert_eq!(prod, expected("https://prod", "of-env"));
}

#[test]
fn the_token_of_a_context_is_sent_to_no_other_engine() {
    let current = tempfile::tempdir().unwrap();
    let variables = contexts(current.path());
    let mut named = global();
    named.server = Some("http://elsewhere".to_owned());
    let elsewhere = resolve(&named, &variables, current.path());
    assert_eq!(elsewhere, ("http://elsewhere".to_owned(), None));

    named.context = Some("prod".parse().unwrap());
    let error = Settings::resolve(&named, &variables, current.path()).unwrap_err();
    assert!(error.to_string().contains("--context"), "{error}");
}

#[test]
fn a_running_dev_in_the_folder_comes_before_the_context_in_use() {
    let current = folder("http://127.0.0.1:4000");
    let variables = contexts(current.path());
    let resolved = resolve(&global(), &variables, current.path());
    let expected = (
        "http://127.0.0.1:4000".to_owned(),
        Some("of-dev".to_owned()),
    );
    assert_eq!(resolved, expected);

    let mut named = global();
    named.context = Some("none".parse().unwrap());
    let error = Settings::resolve(&named, &variables, current.path()).unwrap_err();
    assert!(
        error.to_string().contains("hotswap context list"),
        "{error}"
    );
}
