use super::*;

fn global() -> Global {
    Global {
        server: None,
        token: None,
        token_file: None,
        email: None,
        json: false,
        no_color: false,
    }
}

/// A folder in which `hotswap dev` keeps an engine at `server`.
fn folder(server: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let dev = folder.path().join(DEV_DIR);
    fs::create_dir_all(&dev).unwrap();
    fs::write(dev.join("server"), format!("{server}\n")).unwrap();
    fs::write(dev.join("token"), "of-dev\n").unwrap();
    folder
}

fn resolve(global: &Global, environ: &Environ, here: &Path) -> (String, Option<String>) {
    let settings = Settings::resolve(global, environ, here).unwrap();
    let token = settings.token.map(|token| token.secret().to_owned());
    (settings.server, token)
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_folder() {
    let here = folder("http://127.0.0.1:4000");
    let file = here.path().join("mine");
    fs::write(&file, "of-file\n").unwrap();
    let mut global = global();
    let mut environ = Environ::default();
    let of = |token: &str| ("http://127.0.0.1:4000".to_owned(), Some(token.to_owned()));

    assert_eq!(resolve(&global, &environ, here.path()), of("of-dev"));
    environ.token = Some(Token::new("of-env"));
    assert_eq!(resolve(&global, &environ, here.path()), of("of-env"));
    global.token_file = Some(file);
    assert_eq!(resolve(&global, &environ, here.path()), of("of-file"));
    global.token = Some("of-flag".to_owned());
    assert_eq!(resolve(&global, &environ, here.path()), of("of-flag"));
}

#[test]
fn without_a_folder_the_usual_address_and_no_token() {
    let here = tempfile::tempdir().unwrap();
    let found = resolve(&global(), &Environ::default(), here.path());
    assert_eq!(found, (SERVER.to_owned(), None));
}

#[test]
fn the_token_of_the_folder_goes_to_no_other_engine() {
    let here = folder("http://127.0.0.1:4000");
    let mut global = global();
    global.server = Some("http://engine.example:5000/".to_owned());
    let found = resolve(&global, &Environ::default(), here.path());
    assert_eq!(found, ("http://engine.example:5000".to_owned(), None));

    global.server = Some("http://127.0.0.1:4000/".to_owned());
    let found = resolve(&global, &Environ::default(), here.path());
    assert_eq!(found.1.as_deref(), Some("of-dev"));
}

#[test]
fn a_folder_that_leads_off_the_machine_is_not_followed() {
    let here = folder("http://engine.example:4000");
    let environ = Environ {
        token: Some(Token::new("secret")),
        ..Environ::default()
    };
    let found = resolve(&global(), &environ, here.path());
    assert_eq!(found.0, SERVER);
}

#[test]
fn the_folder_is_of_the_engine_that_is_spoken_to() {
    let here = folder("http://127.0.0.1:4000");
    let mut global = global();
    let found = |global: &Global| dev_folder(global, here.path()).unwrap();
    assert_eq!(found(&global), Some(here.path().join(DEV_DIR)));
    global.server = Some("http://127.0.0.1:4000/".to_owned());
    assert_eq!(found(&global), Some(here.path().join(DEV_DIR)));
    global.server = Some("http://127.0.0.1:4001".to_owned());
    assert_eq!(found(&global), None);
    global.server = Some("engine".to_owned());
    assert!(dev_folder(&global, here.path()).is_err());
    let elsewhere = tempfile::tempdir().unwrap();
    global.server = None;
    assert_eq!(dev_folder(&global, elsewhere.path()).unwrap(), None);
}

#[test]
fn an_address_that_is_none_is_a_usage_error() {
    for bad in [
        "engine",
        "ftp://engine",
        "http://",
        "http://me:pw@engine",
        "http://e/?a",
    ] {
        let mut global = global();
        global.server = Some(bad.to_owned());
        let here = tempfile::tempdir().unwrap();
        let error = Settings::resolve(&global, &Environ::default(), here.path()).unwrap_err();
        assert!(error.is::<Usage>(), "{bad}: {error}");
    }
}

#[test]
fn a_token_is_never_shown() {
    let settings = Settings {
        server: SERVER.to_owned(),
        token: Some(Token::new("hush")),
        email: String::new(),
        json: false,
        plain: true,
    };
    assert!(!format!("{settings:?}").contains("hush"));
}

#[test]
fn an_empty_token_file_is_an_error_that_names_it() {
    let here = tempfile::tempdir().unwrap();
    let file = here.path().join("none");
    fs::write(&file, "\n").unwrap();
    let error = Token::from_file(&file).unwrap_err().to_string();
    assert!(error.contains("none"), "{error}");
}
