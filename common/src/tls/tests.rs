use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::ServerName;
use tempfile::tempdir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Writes a certificate for a name and its key as `{file}.crt` and `{file}.key`.
    fn issue(&self, folder: &Path, file: &str, name: &str) -> CertificateFiles {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let files = CertificateFiles {
            certificate: folder.join(format!("{file}.crt")),
            key: folder.join(format!("{file}.key")),
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn write(&self, folder: &Path) -> std::path::PathBuf {
        let file = folder.join("ca.crt");
        std::fs::write(&file, self.0.pem()).unwrap();
        file
    }

    /// A client that trusts this authority alone.
    fn client(&self, folder: &Path) -> ClientFiles {
        ClientFiles {
            authorities: Some(self.write(folder)),
            trusts_system: false,
            ..ClientFiles::default()
        }
    }
}

/// Answers each connection with whether its client has shown a certificate, until the client
/// closes it.
async fn serve(listener: TcpListener, tls: ServerTls) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let tls = tls.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = accept(Some(&tls), stream).await else {
                return;
            };
            let answer = u8::from(stream.client_certificate().is_some());
            while stream.read_u8().await.is_ok() {
                stream.write_u8(answer).await.unwrap();
                stream.flush().await.unwrap();
            }
        });
    }
}

async fn start(tls: &ServerTls) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, tls.clone()));
    addr
}

async fn connect(
    addr: std::net::SocketAddr,
    client: &ClientTls,
    host: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = Arc::new(client.config().unwrap());
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

/// What the server answers: whether it has seen a certificate.
async fn ask(stream: &mut TlsStream<TcpStream>) -> bool {
    stream.write_u8(0).await.unwrap();
    stream.flush().await.unwrap();
    stream.read_u8().await.unwrap() == 1
}

/// The certificate that the server has shown.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_new_certificate_is_used_and_open_connections_go_on() {
    let (folder, authority) = (tempdir().unwrap(), Authority::new());
    let certificate = authority.issue(folder.path(), "server", "localhost");
    let files = ServerFiles {
        certificate: certificate.clone(),
        further: Vec::new(),
        client_authorities: None,
    };
    let tls = ServerTls::open(files, "the certificate").unwrap();
    let addr = start(&tls).await;
    let client = ClientTls::open(authority.client(folder.path())).unwrap();
    let mut first = connect(addr, &client, "localhost").await.unwrap();
    assert!(!ask(&mut first).await);
    assert!(!tls.reload().unwrap(), "nothing has changed");

    authority.issue(folder.path(), "server", "localhost");
    assert!(tls.reload().unwrap());
    let mut second = connect(addr, &client, "localhost").await.unwrap();
    assert_ne!(shown(&first), shown(&second));
    assert!(!ask(&mut first).await, "it goes on");

    // In the middle of a renewal: the certificate is new, its key is not.
    let other = authority.issue(folder.path(), "other", "localhost");
    std::fs::copy(&other.certificate, &certificate.certificate).unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("server.crt"), "{error}");
    std::fs::write(&certificate.certificate, "nonsense").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("no certificate"), "{error}");
    let mut third = connect(addr, &client, "localhost").await.unwrap();
    assert_eq!(shown(&second), shown(&third));
    assert!(!ask(&mut second).await && !ask(&mut third).await);
}

#[tokio::test]
async fn a_certificate_of_a_client_counts_only_if_its_authority_is_trusted() {
    let (folder, authority) = (tempdir().unwrap(), Authority::new());
    let tls = ServerTls::open(
        ServerFiles {
            certificate: authority.issue(folder.path(), "server", "localhost"),
            further: Vec::new(),
            client_authorities: Some(authority.write(folder.path())),
        },
        "the certificate",
    );
    let tls = tls.unwrap();
    assert!(tls.asks_for_certificates());
    let addr = start(&tls).await;
    let files = authority.client(folder.path());
    let without = ClientTls::open(files.clone()).unwrap();
    let mut stream = connect(addr, &without, "localhost").await.unwrap();
    assert!(!ask(&mut stream).await);

    let with = ClientFiles {
        client: Some(authority.issue(folder.path(), "client", "engine")),
        ..files.clone()
    };
    let with = ClientTls::open(with).unwrap();
    let mut stream = connect(addr, &with, "localhost").await.unwrap();
    assert!(ask(&mut stream).await);

    // Of another authority from now on: the server breaks the connection off.
    Authority::new().issue(folder.path(), "client", "engine");
    assert!(with.reload().unwrap());
    let refused = async {
        let mut stream = connect(addr, &with, "localhost").await?;
        stream.write_u8(0).await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    let error = refused.await.unwrap_err();
    let text = explain(&error, "localhost", &SettingNames::FLAGS).unwrap();
    assert!(text.contains("--client-cert"), "{text}");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_setting_to_change() {
    let (folder, authority) = (tempdir().unwrap(), Authority::new());
    let files = ServerFiles {
        certificate: authority.issue(folder.path(), "server", "nodes.internal"),
        further: Vec::new(),
        client_authorities: None,
    };
    let addr = start(&ServerTls::open(files, "the certificate").unwrap()).await;
    let explained = async |client: &ClientTls| {
        let error = connect(addr, client, "localhost").await.unwrap_err();
        explain(&error, "localhost", &SettingNames::ENGINE).unwrap()
    };
    let other = tempdir().unwrap();
    let stranger = ClientTls::open(Authority::new().client(other.path())).unwrap();
    let text = explained(&stranger).await;
    assert!(text.contains("set tls.ca"), "{text}");
    let files = authority.client(folder.path());
    let client = ClientTls::open(files.clone()).unwrap();
    let text = explained(&client).await;
    assert!(
        text.contains("not for localhost") && text.contains("tls.nodeName"),
        "{text}"
    );
    let nobody = ClientFiles {
        trusts_system: false,
        ..ClientFiles::default()
    };
    let nobody = ClientTls::open(nobody).unwrap();
    assert!(matches!(nobody.check_trust(), Err(Error::NoAuthorities)));
    let text = explained(&nobody).await;
    assert!(text.contains("ca-certificates"), "{text}");

    let by_name = ClientFiles {
        server_name: Some("nodes.internal".to_owned()),
        ..files
    };
    let by_name = ClientTls::open(by_name).unwrap();
    assert!(connect(addr, &by_name, "localhost").await.is_ok());
    let invalid = ClientFiles {
        server_name: Some("no name!".to_owned()),
        ..ClientFiles::default()
    };
    assert!(matches!(ClientTls::open(invalid), Err(Error::Name(_))));
}

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_host_that_it_names() {
    let (folder, authority) = (tempdir().unwrap(), Authority::new());
    let issue = |file: &str, name: &str| authority.issue(folder.path(), file, name);
    let files = ServerFiles {
        certificate: issue("default", "localhost"),
        further: vec![
            issue("shop", "shop.example.org"),
            issue("all", "*.example.org"),
        ],
        client_authorities: None,
    };
    let tls = ServerTls::open(files, "the certificates").unwrap();
    let addr = start(&tls).await;
    let client = ClientTls::open(authority.client(folder.path())).unwrap();
    let mut shown_to = Vec::new();
    for host in ["localhost", "shop.example.org", "other.example.org"] {
        shown_to.push(shown(&connect(addr, &client, host).await.unwrap()));
    }
    assert_ne!(shown_to[0], shown_to[1]);
    assert_ne!(shown_to[1], shown_to[2]);
    // No certificate is for this host: the first one is shown, and the client refuses it.
    let error = connect(addr, &client, "elsewhere.test").await.unwrap_err();
    let text = explain(&error, "elsewhere.test", &SettingNames::FLAGS).unwrap();
    assert!(text.contains("not for elsewhere.test"), "{text}");

    authority.issue(folder.path(), "shop", "shop.example.org");
    assert!(tls.reload().unwrap());
    let renewed = shown(&connect(addr, &client, "shop.example.org").await.unwrap());
    assert_ne!(renewed, shown_to[1]);
    let same = shown(&connect(addr, &client, "localhost").await.unwrap());
    assert_eq!(same, shown_to[0]);
}
